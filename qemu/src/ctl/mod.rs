//! `weir ctl`: what `netsh http show servicestate` and IIS's recycle button are to Windows.
//!
//! `weir up` and `weir supervise` with `--control PATH` listen on a Unix socket; whoever may write to it may give orders. A question and its answer are a
//! line of JSON each: [`Question`], [`Reply`].

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

/// Longest question.
const LINE_MAX: u64 = 512 << 10;
/// Most bytes of certificates in one question: they have to fit one message of the control connection.
const CERTIFICATES_MAX: usize = FRAME_MAX - 1024;
/// Questioners at a time.
const CONNECTIONS_MAX: usize = 16;

/// What `weir ctl` asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Question {
    /// Something that the appliance knows or does.
    Appliance(Request),
    /// An order to a pool.
    Pool(String, PoolOrder),
    /// `weir up` is to end as by SIGTERM.
    Drain,
    /// How writing the logs goes.
    Logs,
}

/// The socket that `weir up` and `weir supervise` make for `weir ctl`.
#[derive(Args, Clone, Debug)]
pub struct ControlArgs {
    /// A Unix socket to be made for `weir ctl`. Nothing that is there is overwritten.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Who may give orders there, as permissions in octal; its owner if left out, and with --control-group that group.
    #[arg(long, value_name = "MODE", requires = "control", value_parser = parse_mode)]
    control_mode: Option<u32>,
    /// The group that the socket gets.
    #[arg(long, value_name = "NAME", requires = "control")]
    control_group: Option<String>,
}

impl ControlArgs {
    /// Begins to listen, if that is wanted; those who ask wait until [`serve`] runs.
    pub(crate) fn bind(&self) -> Result<Option<OwnSocket>> {
        let access = Access { mode: self.control_mode, group: self.control_group.clone() };
        self.control.as_deref().map(|path| OwnSocket::bind(path, &access)).transpose()
    }
}

/// What it is told, or in one line why not.
pub type Reply = Result<Response, String>;

/// What a question or order led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// The appliance's own answer. To an order: it is in force.
    Answer(Answer),
    /// The order holds, but is not in force yet: why, in words.
    NotYet(String),
    /// To [`Question::Logs`]: `None` where another process writes the logs.
    Logs(Option<LogState>),
}

/// What `weir ctl` is told on its command line.
#[derive(Args, Clone, Debug)]
pub struct CtlArgs {
    /// The socket that `weir up` or `weir supervise` made for `--control PATH`.
    #[arg(long, value_name = "PATH", env = "WEIR_CONTROL")]
    control: PathBuf,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum CtlCommand {
    /// Show pools with their workers, sites, and what was refused.
    Status,
    /// Print all counters in Prometheus' text format.
    Metrics,
    /// End `weir up` as SIGTERM does: nothing new begins, what is under way is finished.
    Drain,
    /// Give an order to a pool.
    Pool {
        /// The pool's name.
        name: String,
        /// recycle: new workers replace the old ones; stop: 503 AppOffline; start: in service again.
        order: Order,
    },
    /// Change a site's bandwidth; what is not named stays as it is. `none` takes a ceiling or rate away.
    Site {
        /// The site's name.
        name: String,
        /// Guaranteed rate of responses, such as "2 MB/s".
        #[arg(long)]
        rate: Option<String>,
        /// Ceiling of responses.
        #[arg(long)]
        ceil: Option<String>,
        /// Ceiling of responses to one client.
        #[arg(long)]
        client_ceil: Option<String>,
        /// Ceiling of uploads.
        #[arg(long)]
        upload_ceil: Option<String>,
        /// Share of what is left, 1 to 10000.
        #[arg(long)]
        weight: Option<u32>,
    },
    /// Give a site other certificates, or fresh OCSP responses, until the appliance starts again. Connections stay.
    Certificate(CertificateArgs),
}

/// Which files to read. The n-th of each kind belong together.
#[derive(Args, Clone, Debug)]
struct CertificateArgs {
    /// The site's name.
    site: String,
    /// Certificate and what leads to its authority, in PEM. Several, each with its key: the first that suits a client is used.
    #[arg(long, value_name = "FILE", requires = "key")]
    chain: Vec<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "chain")]
    key: Vec<PathBuf>,
    /// An OCSP response to staple, in DER; without a chain, for the certificate that the site has.
    #[arg(long, value_name = "FILE", required_unless_present = "chain")]
    ocsp: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    Recycle,
    Stop,
    Start,
}

/// Runs one command and prints its answer.
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
            let site = found.ok_or_else(|| anyhow!("no site {name:?}"))?;
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

/// All there is to be shown.
struct Everything {
    status: Status,
    pools: Vec<PoolInfo>,
    sites: Vec<SiteInfo>,
    /// `None` where another process writes the logs.
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

    /// Gives an order, and prints what is still missing where it is not in force yet.
    fn order(&mut self, question: &Question) -> Result<()> {
        if let Response::NotYet(why) = self.respond(question)? {
            println!("not yet in force: {why}");
        }
        Ok(())
    }

    fn ask(&mut self, question: &Question) -> Result<Answer> {
        match self.respond(question)? {
            Response::Answer(answer) => Ok(answer),
            Response::NotYet(why) => bail!("{why}"),
            Response::Logs(_) => bail!("an answer to another question"),
        }
    }

    fn respond(&mut self, question: &Question) -> Result<Response> {
        // As large as it may become: what is left behind by growing, nobody overwrites.
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
            bail!("an answer to another question")
        };
        let mut pools = Vec::new();
        while let Some(from) = PoolId::at(pools.len())
            && let Answer::Pools(page) = self.ask(&Question::Appliance(Request::Pools(from)))?
            && !page.is_empty()
        {
            pools.extend(page);
        }
        let Response::Logs(logs) = self.respond(&Question::Logs)? else {
            bail!("an answer to another question")
        };
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

/// Is told when the appliance has begun to drain.
pub(crate) type Begun = oneshot::Sender<()>;

/// Who answers.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    /// Asks the appliance.
    pub(crate) client: Client,
    /// Gives orders to pools, where workers are looked after by this process.
    pub(crate) pools: Option<Handle>,
    /// Is told when all is to end, where that begins with this process.
    pub(crate) drain: Option<mpsc::UnboundedSender<Begun>>,
    /// How writing the logs goes, where this process does that.
    pub(crate) logs: Option<Arc<logs::State>>,
}

/// Answers questions at this socket for as long as the future given back runs.
pub(crate) fn serve(socket: OwnSocket, desk: Desk) -> Result<impl Future<Output = ()> + use<>> {
    let listener = socket.listener()?;
    Ok(async move {
        let _socket = socket;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    if connections.len() < CONNECTIONS_MAX {
                        connections.spawn_local(converse(stream, desk.clone()));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn converse(stream: tokio::net::UnixStream, desk: Desk) {
    let (input, mut output) = stream.into_split();
    let mut input = tokio::io::BufReader::new(input);
    // There may be a private key in it.
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_MAX as usize));
    loop {
        line.zeroize();
        match (&mut input).take(LINE_MAX).read_until(b'\n', &mut line).await {
            Ok(1..) if line.ends_with(b"\n") => {}
            _ => return,
        }
        let reply = desk.answer(&line).await;
        let Ok(mut text) = serde_json::to_string(&reply) else { return };
        text.push('\n');
        if output.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Desk {
    async fn answer(&self, line: &[u8]) -> Reply {
        // Not the whole error, which may quote what it is about.
        let unknown = |error: serde_json::Error| format!("not a question, at byte {}", error.column());
        match serde_json::from_slice(line).map_err(unknown)? {
            // Workers are the supervisor's own affair.
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
            Question::Appliance(_) => Err("a request that is the supervisor's alone".into()),
            Question::Drain => self.drain().await,
            Question::Logs => Ok(Response::Logs(self.logs.as_ref().map(|logs| logs.get()))),
            Question::Pool(name, order) => match &self.pools {
                Some(pools) => match pools.order(&name, order).await {
                    Some(Outcome::InForce) => Ok(Response::Answer(Answer::Done)),
                    Some(Outcome::NotYet(why)) => Ok(Response::NotYet(why)),
                    None => Err(format!("no pool {name:?}")),
                },
                None => Err("workers are managed by `weir supervise`, which has a socket of its own".into()),
            },
        }
    }

    /// Answers when the appliance takes nothing new any more.
    async fn drain(&self) -> Reply {
        let Some(drain) = &self.drain else {
            return Err("this is the supervisor's socket; draining begins at that of `weir up`".into());
        };
        let (begun, has_begun) = oneshot::channel();
        drain.send(begun).map_err(|_| "it is ending already")?;
        has_begun
            .await
            .map(|()| Response::Answer(Answer::Done))
            .map_err(|_| "it ends without draining: the appliance could not be asked".into())
    }
}
