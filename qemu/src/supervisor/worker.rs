//! One worker from its start to its end: a VM or a process, the relay that leads to it, and what it is told.

use super::at::{At, PROBE_LIMIT};
use super::check::{Ill, Question};
use super::pool::{Event, WorkerId};
use crate::host::child::{Launcher, Surroundings};
use crate::relay::ends::{Agent, Tell, Witness};
use crate::relay::target::Until;
use crate::relay::{Limits, Relay, Signs};
use crate::vm::serial::Serial;
use crate::vm::{Host, Spec, Vm};
use anyhow::{Context, Result, bail};
use image::config::{ListensOn, Process};
use image::place;
use model::id::PoolId;
use nix::unistd::{User, geteuid};
use rustix::process::{Pid, Signal, kill_process};
use std::cell::{Cell, RefCell};
use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use weir_agent::protocol::{Answer, Request, STOP_MAX_S};

/// Between two looks at whether a leaving worker has finished; the first also lets streams arrive that are on their way.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

/// Between the report of a worker's end and the end of its streams.
const TELL_FIRST: Duration = Duration::from_millis(20);
/// How long a relay outlives its worker. The appliance has been told by then.
const RELAY_STAYS: Duration = Duration::from_secs(3);

/// What a worker is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A VM and the vsock port it listens on.
    Vm(Spec, u32),
    /// A command.
    Process(Process),
}

/// A place in a pool's list of workers.
#[derive(Clone, Debug)]
pub struct Place {
    /// Name of its workers, to which their numbers are added.
    pub name: String,
    /// What they are.
    pub kind: Kind,
    /// How many there may be at a time.
    pub instances: u32,
}

/// What a worker is told.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Say whether it is well.
    Ping,
    /// End when nobody uses it any more.
    Retire,
    /// End now.
    Kill,
    /// Be left to this command, which is told its process number.
    Orphan(Vec<String>),
}

/// What a worker has to say, and in words what happened.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) pool: PoolId,
    pub(super) event: Event,
    pub(super) why: String,
}

/// Everything a worker needs to be started.
#[derive(Clone)]
pub(super) struct Birth {
    pub(super) pool: PoolId,
    pub(super) id: WorkerId,
    pub(super) place: Place,
    pub(super) host: Host,
    /// Made for this worker, removed with it.
    pub(super) directory: PathBuf,
    /// The Unix socket at which the appliance's streams to this worker arrive.
    pub(super) relay: PathBuf,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    /// How long it may finish what it has; watched by whoever gives orders.
    pub(super) stop_limit: Duration,
    /// How it is asked whether it is well, and how long that may take.
    pub(super) question: Question,
    pub(super) ping_limit: Duration,
    /// Told how its streams ended.
    pub(super) tell: Tell,
}

/// A worker's pings: one at a time.
#[derive(Clone, Default)]
struct Pings {
    under_way: Rc<Cell<bool>>,
    /// What came of the last one, if that was nothing good.
    ill: Rc<RefCell<Option<Ill>>>,
}

enum Body {
    Vm(Box<Vm>),
    Process(Child, Serial),
}

impl Birth {
    /// Lives the worker's life. Its end is reported once.
    pub(super) async fn live(self, orders: mpsc::UnboundedReceiver<Order>) {
        let why = match self.lead(orders).await {
            Ok(why) => why,
            Err(error) => Some(format!("{error:#}")),
        };
        let _ = place::remove_directory(&self.directory);
        if let Some(why) = why {
            self.report(Event::Ended(self.id), why);
        }
    }

    fn report(&self, event: Event, why: String) {
        // Fails only when the supervisor is gone.
        let _ = self.reports.send(Report { pool: self.pool, event, why });
    }

    /// Why it ended; `None` if that has been reported.
    async fn lead(&self, mut orders: mpsc::UnboundedReceiver<Order>) -> Result<Option<String>> {
        image::private::create_dir_all(&self.directory)?;
        let (mut body, at) = self.start().await?;
        let until = Until::new();
        // Nothing passes after this guard is gone, however we leave.
        let _cut = until.clone().drop_guard();
        let (_state, target) = at.target(&until);
        let ends = Some((self.tell.clone(), witness(&at, body.pid())));
        let relay = Relay::bind_telling(&self.relay, target, Limits::default(), ends)?;
        let (open, signs, pings) = (relay.open(), relay.signs(), Pings::default());
        let _relay = Stopped(tokio::task::spawn_local(relay.run()).abort_handle());
        let mut answered = std::pin::pin!(at.answers(&self.question));
        let (mut is_up, mut leaves, mut asked) = (false, false, false);
        loop {
            tokio::select! {
                why = body.ended() => {
                    // The appliance hears it from the supervisor before its streams end, so that it gives nothing to this
                    // worker again.
                    self.report(Event::Ended(self.id), why);
                    sleep(TELL_FIRST).await;
                    return Ok(None);
                }
                () = &mut answered, if !is_up => {
                    is_up = true;
                    self.report(Event::Answered(self.id), String::new());
                }
                () = sleep(DRAIN_PAUSE), if leaves && !asked => {
                    if open.get() == 0 {
                        asked = true;
                        if !self.ask_to_end(&at, &body).await {
                            body.kill().await;
                            return Ok(Some("ended by the supervisor".into()));
                        }
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Ping) => self.ping(&at, body.pid(), &signs, &pings),
                    Some(Order::Retire) => leaves = true,
                    Some(Order::Orphan(command)) => {
                        until.cancel();
                        self.orphan(body, &command).await;
                        return Ok(None);
                    }
                    Some(Order::Kill) | None => {
                        // First of all the streams, so that the appliance learns of it at once.
                        until.cancel();
                        body.kill().await;
                        return Ok(Some("ended by the supervisor".into()));
                    }
                },
            }
        }
    }

    async fn start(&self) -> Result<(Body, At)> {
        match &self.place.kind {
            Kind::Vm(spec, port) => {
                let mut spec = spec.clone();
                spec.name = self.name();
                let vsock = self.directory.join("vsock");
                let vm = Vm::start(&spec, &self.host, &self.directory, &vsock).await?;
                let agent = spec.append.is_some();
                Ok((Body::Vm(Box::new(vm)), At::Vsock { path: vsock, port: *port, agent }))
            }
            Kind::Process(process) => {
                let (at, value) = match process.listens_on {
                    ListensOn::Socket => {
                        let path = self.directory.join("socket");
                        let value = path.to_string_lossy().into_owned();
                        (At::Unix(path), value)
                    }
                    ListensOn::Port => {
                        let port = free_port()?;
                        (At::Tcp(port), port.to_string())
                    }
                };
                if let Some(user) = &process.user {
                    self.open_to(user)?;
                }
                let mut child = spawn(process, &value, &self.host.launcher)?;
                let serial = Serial::new(&self.name());
                serial.follow(child.stdout.take(), "")?;
                serial.follow(child.stderr.take(), "")?;
                Ok((Body::Process(child, serial), at))
            }
        }
    }

    /// Gives a worker that runs as another user its directory. What is above it, this user may pass through and not look
    /// into.
    fn open_to(&self, user: &str) -> Result<()> {
        let named = || format!("giving {} to {user}", self.directory.display());
        let user = User::from_name(user)?.with_context(named)?;
        if user.uid == geteuid() {
            return Ok(());
        }
        std::os::unix::fs::chown(&self.directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .with_context(named)?;
        // The supervisor's directory, and the runtime directory that it is in.
        for above in self.directory.ancestors().skip(1).take(2) {
            let mode = std::fs::metadata(above).with_context(named)?.permissions().mode();
            std::fs::set_permissions(above, Permissions::from_mode(mode | 0o011)).with_context(named)?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}-{}", self.place.name, self.id)
    }

    /// Asks in the background: a worker that is not well must not keep us from ending it. While the last ping is not answered
    /// yet, what the worker sends says that it is alive.
    fn ping(&self, at: &At, pid: Option<u32>, signs: &Signs, pings: &Pings) {
        if pings.under_way.replace(true) {
            if let Some(heard) = signs.heard() {
                self.report(Event::Heard(self.id, heard), String::new());
            }
            if pings.ill.borrow().is_none() {
                self.tell_ill(pings, Some(Ill::Silent));
            }
            return;
        }
        let (this, at, pings) = (self.clone(), at.clone(), pings.clone());
        tokio::task::spawn_local(async move {
            let answer = timeout(this.ping_limit, at.ping(&this.question)).await.unwrap_or(Err(Ill::Silent));
            pings.under_way.set(false);
            match answer {
                Ok(memory) => {
                    let memory = memory.or_else(|| resident_bytes(pid?)).unwrap_or(0);
                    this.report(Event::Pong(this.id, memory), String::new());
                    this.tell_ill(&pings, None);
                }
                Err(ill) => this.tell_ill(&pings, Some(ill)),
            }
        });
    }

    /// Says so when a worker's health has changed.
    fn tell_ill(&self, pings: &Pings, ill: Option<Ill>) {
        if pings.ill.replace(ill.clone()) != ill {
            let why = ill.map_or_else(String::new, |ill| ill.to_string());
            self.report(Event::Ill(self.id), why);
        }
    }

    /// Asks it to end by itself. False if it cannot be asked, or takes no notice.
    async fn ask_to_end(&self, at: &At, body: &Body) -> bool {
        match body {
            Body::Process(child, _) => {
                let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
                pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok())
            }
            Body::Vm(_) => {
                let seconds = self.stop_limit.as_secs().try_into().unwrap_or(STOP_MAX_S).min(STOP_MAX_S);
                let asked = timeout(PROBE_LIMIT, at.ask_agent(Request::Stop { seconds })).await;
                matches!(asked, Ok(Ok(Answer::Stopping)))
            }
        }
    }

    /// Reports its end, and keeps the body for as long as it lives.
    async fn orphan(&self, mut body: Body, command: &[String]) {
        let pid = body.pid().map_or_else(String::new, |pid| pid.to_string());
        let words: Vec<_> = command.iter().map(|word| word.replace("{pid}", &pid)).collect();
        let name = self.name();
        eprintln!("[{name}] left alone as process {pid} for {}", words.join(" "));
        let debugger = words.split_first().map(|(program, args)| {
            self.host.launcher.spawn_in(Path::new(program), args, [], Surroundings::default())
        });
        if let Some(Err(error)) = &debugger {
            eprintln!("[{name}] {error:#}");
        }
        self.report(Event::Ended(self.id), "left to a debugger".into());
        body.ended().await;
    }
}

/// A relay that stops when its worker is gone: a little later, because streams that are on their way to it must still be
/// closed properly.
struct Stopped(tokio::task::AbortHandle);

impl Drop for Stopped {
    fn drop(&mut self) {
        let task = self.0.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                sleep(RELAY_STAYS).await;
                task.abort();
            })),
            // Everything ends.
            Err(_) => task.abort(),
        }
    }
}

impl Body {
    async fn ended(&mut self) -> String {
        match self {
            Self::Vm(vm) => vm.ended().await,
            Self::Process(child, serial) => {
                let status = child.wait().await.map_or_else(|e| e.to_string(), |status| status.to_string());
                match serial.tail() {
                    tail if tail.is_empty() => status,
                    tail => format!("{status}; last lines: {tail}"),
                }
            }
        }
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Vm(vm) => vm.pid(),
            Self::Process(child, _) => child.id(),
        }
    }

    async fn kill(self) {
        match self {
            Self::Vm(vm) => vm.stop().await,
            Self::Process(mut child, _) => {
                let _ = child.kill().await;
            }
        }
    }
}

/// Starts a command that is told to listen at `place`: wherever its placeholder stands in its arguments and environment, and
/// in a variable of its own.
fn spawn(process: &Process, place: &str, launcher: &Launcher) -> Result<Child> {
    let (program, args) = process.command.split_first().context("an empty command")?;
    let placeholder = match process.listens_on {
        ListensOn::Socket => "{socket}",
        ListensOn::Port => "{port}",
    };
    let told = |text: &String| text.replace(placeholder, place);
    let variables = process.environment.0.iter().map(|(name, value)| (name.clone(), told(value)));
    let own = (process.listens_on.variable().to_owned(), place.to_owned());
    let surroundings = Surroundings { directory: Some(&process.directory), user: process.user.as_deref() };
    launcher.spawn_in(Path::new(program), args.iter().map(told), variables.chain([own]), surroundings)
}

/// Who knows how a worker's streams ended.
fn witness(at: &At, pid: Option<u32>) -> Witness {
    match (at, pid) {
        (At::Vsock { path, agent: true, .. }, _) => Witness::Agent(Rc::new(Agent::new(path.clone()))),
        (_, Some(pid)) => Witness::Process(pid),
        (_, None) => Witness::Nobody,
    }
}

/// A port that was free just now. Not one of those that connections get by themselves: until the worker listens, an attempt to
/// connect to such a port may meet itself.
fn free_port() -> Result<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32_768);
    // Each worker gets another one: those that start together must not be told the same.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 1024 + u16::try_from(std::process::id() % 16_384).unwrap_or(0);
    for _ in 0..1000 {
        let port = base.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed) % 4096);
        if port < first && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port for a worker below those of connections")
}

/// Bytes of a process in the host's memory.
fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
