//! `weir ctl`: status and control, like `netsh http show servicestate` and recycling in IIS.
//!
//! `weir up` and `weir supervise` with `--control PATH` listen on a Unix socket; write access to it permits every command. A
//! question and its reply are one line of JSON each: [`Question`], [`Reply`].

mod show;

use crate::host::own_socket::{Access, OwnSocket, parse_mode};
use crate::logs::{self, LogState};
use crate::supervisor::client::Client;
use crate::supervisor::{Handle, Outcome, PoolOrder};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use image::config::parse_rate;
use model::control::message::{Answer, FRAME_MAX, PoolInfo, Request, SiteInfo, Status};
use model::id::{PoolId, SiteId};
use model::settings::Certificate;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use zeroize::{Zeroize as _, Zeroizing};

/// Maximum length of a question.
const LINE_MAX: u64 = 512 << 10;
/// Maximum length of all certificates in a question: they must fit into one message of the control connection.
const CERTIFICATES_MAX: usize = FRAME_MAX - 1024;
/// Maximum number of concurrent connections.
const CONNECTIONS_MAX: usize = 16;

/// A question or command of `weir ctl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Question {
    /// For the appliance.
    Appliance(Request),
    /// A command to a pool.
    Pool(String, PoolOrder),
    /// End `weir up` as SIGTERM does.
    Drain,
    /// State of the log files.
    Logs,
}

/// Options of `weir up` and `weir supervise` for the control socket.
#[derive(Args, Clone, Debug)]
pub struct ControlArgs {
    /// Unix socket to create for `weir ctl`; never replaces files of others.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Octal mode of the socket; write permission permits every command [default: 0600, with --control-group 0660]
    #[arg(long, value_name = "MODE", requires = "control", value_parser = parse_mode)]
    control_mode: Option<u32>,
    /// Group of the socket.
    #[arg(long, value_name = "NAME", requires = "control")]
    control_group: Option<String>,
}

impl ControlArgs {
    /// Creates the socket, if configured; clients wait until [`serve`] runs.
    pub(crate) fn bind(&self) -> Result<Option<OwnSocket>> {
        let access = Access { mode: self.control_mode, group: self.control_group.clone() };
        self.control.as_deref().map(|path| OwnSocket::bind(path, &access)).transpose()
    }
}

/// The result, or an error in one line.
pub type Reply = Result<Response, String>;

/// Result of a question or command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// The appliance's reply. After a command: it is in effect.
    Answer(Answer),
    /// The command was accepted but is not in effect yet; the text says why.
    NotYet(String),
    /// To [`Question::Logs`]; `None` if another process writes the logs.
    Logs(Option<LogState>),
}

/// Arguments of `weir ctl`.
#[derive(Args, Clone, Debug)]
pub struct CtlArgs {
    /// Control socket of `weir up` or `weir supervise` (--control PATH there).
    #[arg(long, value_name = "PATH", env = "WEIR_CONTROL")]
    control: PathBuf,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum CtlCommand {
    /// Show pools with their workers, sites, and counts of rejected requests.
    Status,
    /// Print all counters in Prometheus' text format.
    Metrics,
    /// End `weir up` as SIGTERM does: finish requests in progress, accept nothing new.
    Drain,
    /// Control a pool.
    Pool {
        /// Name of the pool.
        name: String,
        /// recycle: replace all workers; stop: take the pool out of service (503 AppOffline); start: back into service.
        order: Order,
    },
    /// Change a site's bandwidth; other settings stay. `none` removes a ceiling or rate.
    Site {
        /// Name of the site.
        name: String,
        /// Guaranteed rate of responses, such as "2 MB/s".
        #[arg(long)]
        rate: Option<String>,
        /// Maximum rate of responses.
        #[arg(long)]
        ceil: Option<String>,
        /// Maximum rate of responses to one client.
        #[arg(long)]
        client_ceil: Option<String>,
        /// Maximum rate of request content.
        #[arg(long)]
        upload_ceil: Option<String>,
        /// Share of the remaining bandwidth, 1 to 10000.
        #[arg(long)]
        weight: Option<u32>,
    },
    /// Replace a site's certificates or OCSP responses until the appliance restarts. Connections are kept.
    Certificate(CertificateArgs),
}

/// Files to read. The n-th files of each kind belong together.
#[derive(Args, Clone, Debug)]
struct CertificateArgs {
    /// Name of the site.
    site: String,
    /// PEM file with certificate chain. May be repeated, each with --key: a client gets the first one it supports.
    #[arg(long, value_name = "FILE", requires = "key")]
    chain: Vec<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "chain")]
    key: Vec<PathBuf>,
    /// DER file with an OCSP response to staple; without --chain, for the site's current certificate.
    #[arg(long, value_name = "FILE", required_unless_present = "chain")]
    ocsp: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Recycle,
    Stop,
    Start,
}

/// Runs one command and prints its result.
pub fn run(args: &CtlArgs) -> Result<()> {
    let mut asker = Asker::connect(&args.control)?;
    match &args.command {
        CtlCommand::Status => print!("{}", show::status(&asker.everything()?)),
        CtlCommand::Metrics => print!("{}", show::metrics(&asker.everything()?)),
        CtlCommand::Drain => drop(asker.ask(&Question::Drain)?),
        CtlCommand::Pool { name, order } => {
            let order = match order {
                Order::Recycle => PoolOrder::Recycle,
                Order::Stop => PoolOrder::Stop,
                Order::Start => PoolOrder::Start,
            };
            asker.order(&Question::Pool(name.clone(), order))?;
        }
        CtlCommand::Certificate(files) => replace(files, &mut asker)?,
        CtlCommand::Site { name, rate, ceil, client_ceil, upload_ceil, weight } => {
            let found = asker.sites()?.into_iter().find(|site| site.name == *name);
            let site = found.ok_or_else(|| anyhow!("unknown site {name:?}"))?;
            let mut bandwidth = site.bandwidth;
            for (key, written, value) in [
                ("rate", rate, &mut bandwidth.rate),
                ("ceil", ceil, &mut bandwidth.ceil),
                ("client-ceil", client_ceil, &mut bandwidth.client_ceil),
                ("upload-ceil", upload_ceil, &mut bandwidth.upload_ceil),
            ] {
                match written.as_deref() {
                    None => {}
                    Some("none") => *value = None,
                    Some(text) => *value = Some(parse_rate(key, text).map_err(|what| anyhow!(what))?),
                }
            }
            bandwidth.weight = weight.unwrap_or(bandwidth.weight);
            let request = Request::SetSite { site: name.clone(), bandwidth, limits: site.limits };
            asker.ask(&Question::Appliance(request))?;
        }
    }
    Ok(())
}

fn replace(files: &CertificateArgs, asker: &mut Asker) -> Result<()> {
    let CertificateArgs { site, chain, key, ocsp } = files;
    if chain.is_empty() {
        for (number, file) in ocsp.iter().enumerate() {
            let (certificate, ocsp) = (u16::try_from(number)?, Some(image::cert::read_ocsp(file)?));
            let request = Request::SetStaple { site: site.clone(), certificate, ocsp };
            asker.ask(&Question::Appliance(request))?;
        }
        return Ok(());
    }
    ensure!(
        chain.len() == key.len() && ocsp.len() <= chain.len(),
        "{} chains, {} keys and {} OCSP responses, expected a key for each chain",
        chain.len(),
        key.len(),
        ocsp.len()
    );
    let load = |(number, (chain, key)): (usize, (&PathBuf, &PathBuf))| {
        image::cert::load(chain, key, ocsp.get(number).map(PathBuf::as_path))
    };
    let certificates = chain.iter().zip(key).enumerate().map(load).collect::<Result<Vec<_>>>()?;
    let bytes = |c: &Certificate| c.chain.iter().chain(&c.ocsp).map(Vec::len).sum::<usize>() + 4096;
    let bytes: usize = certificates.iter().map(bytes).sum();
    ensure!(bytes <= CERTIFICATES_MAX, "certificates of {bytes} bytes, expected at most {CERTIFICATES_MAX}");
    asker.ask(&Question::Appliance(Request::SetCertificates { site: site.clone(), certificates }))?;
    Ok(())
}

/// Everything that can be shown.
struct Everything {
    status: Status,
    pools: Vec<PoolInfo>,
    sites: Vec<SiteInfo>,
    /// `None` if another process writes the logs.
    logs: Option<LogState>,
}

struct Asker {
    stream: BufReader<UnixStream>,
}

impl Asker {
    fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("{}: is `weir up --control` running?", path.display()))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command, and prints why it is not in effect yet, if so.
    fn order(&mut self, question: &Question) -> Result<()> {
        if let Response::NotYet(why) = self.respond(question)? {
            println!("not yet in effect: {why}");
        }
        Ok(())
    }

    fn ask(&mut self, question: &Question) -> Result<Answer> {
        match self.respond(question)? {
            Response::Answer(answer) => Ok(answer),
            Response::NotYet(why) => bail!("{why}"),
            Response::Logs(_) => bail!("unexpected reply"),
        }
    }

    fn respond(&mut self, question: &Question) -> Result<Response> {
        // Allocated at full size: growing would leave unerased copies behind.
        let mut line = Zeroizing::new(Vec::with_capacity(LINE_MAX as usize));
        serde_json::to_writer(&mut *line, question)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the supervisor closed the connection");
        }
        serde_json::from_str::<Reply>(&line).context("the supervisor's reply")?.map_err(|what| anyhow!(what))
    }

    fn everything(&mut self) -> Result<Everything> {
        let Answer::Status(status) = self.ask(&Question::Appliance(Request::Status))? else {
            bail!("unexpected reply")
        };
        let mut pools = Vec::new();
        while let Some(from) = PoolId::at(pools.len())
            && let Answer::Pools(page) = self.ask(&Question::Appliance(Request::Pools(from)))?
            && !page.is_empty()
        {
            pools.extend(page);
        }
        let Response::Logs(logs) = self.respond(&Question::Logs)? else { bail!("unexpected reply") };
        Ok(Everything { status, pools, sites: self.sites()?, logs })
    }

    fn sites(&mut self) -> Result<Vec<SiteInfo>> {
        let mut sites = Vec::new();
        while let Some(from) = SiteId::at(sites.len())
            && let Answer::Sites(page) = self.ask(&Question::Appliance(Request::Sites(from)))?
            && !page.is_empty()
        {
            sites.extend(page);
        }
        Ok(sites)
    }
}

/// Notified when the appliance has begun to drain.
pub(crate) type Begun = oneshot::Sender<()>;

/// Replies to questions.
#[derive(Clone, Debug)]
pub(crate) struct Responder {
    /// Connection to the appliance.
    pub(crate) client: Client,
    /// Commands to pools, if this process manages workers.
    pub(crate) pools: Option<Handle>,
    /// Requests shutdown, if this process is in charge of it.
    pub(crate) drain: Option<mpsc::UnboundedSender<Begun>>,
    /// State of the log files, if this process writes them.
    pub(crate) logs: Option<Arc<logs::State>>,
}

/// Replies to questions at this socket while the returned future runs.
pub(crate) fn serve(socket: OwnSocket, responder: Responder) -> Result<impl Future<Output = ()> + use<>> {
    let listener = socket.listener()?;
    Ok(async move {
        let _socket = socket;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    if connections.len() < CONNECTIONS_MAX {
                        connections.spawn_local(converse(stream, responder.clone()));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn converse(stream: tokio::net::UnixStream, responder: Responder) {
    let (input, mut output) = stream.into_split();
    let mut input = tokio::io::BufReader::new(input);
    // It may contain a private key.
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_MAX as usize));
    loop {
        line.zeroize();
        match (&mut input).take(LINE_MAX).read_until(b'\n', &mut line).await {
            Ok(1..) if line.ends_with(b"\n") => {}
            _ => return,
        }
        let reply = responder.answer(&line).await;
        let Ok(mut text) = serde_json::to_string(&reply) else { return };
        text.push('\n');
        if output.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Responder {
    async fn answer(&self, line: &[u8]) -> Reply {
        // Without the error's text, which may quote the question.
        let unknown = |error: serde_json::Error| format!("not a question, at byte {}", error.column());
        match serde_json::from_slice(line).map_err(unknown)? {
            // Only the supervisor may report workers.
            Question::Appliance(
                request @ (Request::Status
                | Request::Pools(_)
                | Request::Sites(_)
                | Request::SetSite { .. }
                | Request::SetServer { .. }
                | Request::SetCertificates { .. }
                | Request::SetStaple { .. }),
            ) => match self.client.ask(request).await {
                Ok(result) => result.map(Response::Answer).map_err(|refusal| refusal.to_string()),
                Err(error) => Err(format!("{error:#}")),
            },
            Question::Appliance(_) => Err("this request is reserved to the supervisor".into()),
            Question::Drain => self.drain().await,
            Question::Logs => Ok(Response::Logs(self.logs.as_ref().map(|logs| logs.get()))),
            Question::Pool(name, order) => match &self.pools {
                Some(pools) => match pools.order(&name, order).await {
                    Some(Outcome::InForce) => Ok(Response::Answer(Answer::Done)),
                    Some(Outcome::NotYet(why)) => Ok(Response::NotYet(why)),
                    None => Err(format!("unknown pool {name:?}")),
                },
                None => Err("workers are managed by `weir supervise`, which has its own socket".into()),
            },
        }
    }

    /// Replies once the appliance accepts nothing new.
    async fn drain(&self) -> Reply {
        let Some(drain) = &self.drain else {
            return Err("this is the supervisor's socket; send drain to that of `weir up`".into());
        };
        let (begun, has_begun) = oneshot::channel();
        drain.send(begun).map_err(|_| "already shutting down")?;
        has_begun
            .await
            .map(|()| Response::Answer(Answer::Done))
            .map_err(|_| "shutting down without draining: the appliance did not reply".into())
    }
}
