//! One worker from its start to its end: a VM or a process, its relay, and orders to it.

use super::check::{Question, Unhealthy};
use super::endpoint::{Endpoint, PROBE_LIMIT};
use super::pool::{Event, WorkerId};
use crate::host::child::{Launcher, Surroundings};
use crate::relay::ends::{Agent, ReportEnd, Witness};
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

/// Interval of checks whether a leaving worker has finished; the first one also lets streams arrive that are on their way.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

/// Time between the report of a worker's end and the end of its streams.
const TELL_FIRST: Duration = Duration::from_millis(20);
/// How long a relay outlives its worker. The appliance has been told by then.
const RELAY_STAYS: Duration = Duration::from_secs(3);

/// Kind of a worker.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A VM and the vsock port it listens on.
    Vm(Spec, u32),
    /// A command.
    Process(Process),
}

/// An entry in a pool's list of workers.
#[derive(Clone, Debug)]
pub struct Place {
    /// Name of its workers, to which numbers are appended.
    pub name: String,
    /// Their kind.
    pub kind: Kind,
    /// Maximum number of instances.
    pub instances: u32,
}

/// Orders to a worker.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Check its health.
    Ping,
    /// End once it has no more streams.
    Retire,
    /// End now.
    Kill,
    /// Leave it to this command, which gets its process ID.
    Orphan(Vec<String>),
}

/// A report from a worker's task, with a description.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) pool: PoolId,
    pub(super) event: Event,
    pub(super) why: String,
}

/// Everything needed to start and run a worker.
#[derive(Clone)]
pub(super) struct WorkerTask {
    pub(super) pool: PoolId,
    pub(super) id: WorkerId,
    pub(super) place: Place,
    pub(super) host: Host,
    /// Created for this worker, and removed with it.
    pub(super) directory: PathBuf,
    /// Unix socket at which the appliance's streams to this worker arrive.
    pub(super) relay: PathBuf,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    /// How long it may take to finish; enforced by the sender of orders.
    pub(super) stop_limit: Duration,
    /// Its health check, and the time limit for it.
    pub(super) question: Question,
    pub(super) ping_limit: Duration,
    /// Reports how its streams ended.
    pub(super) tell: ReportEnd,
}

/// Pings of a worker, one at a time.
#[derive(Clone, Default)]
struct Pings {
    under_way: Rc<Cell<bool>>,
    /// Result of the last one, if it failed.
    unhealthy: Rc<RefCell<Option<Unhealthy>>>,
}

enum Instance {
    Vm(Box<Vm>),
    Process(Child, Serial),
}

impl WorkerTask {
    /// Runs the worker until it ends, and reports its end once.
    pub(super) async fn run(self, orders: mpsc::UnboundedReceiver<Order>) {
        let why = match self.run_to_end(orders).await {
            Ok(why) => why,
            Err(error) => Some(format!("{error:#}")),
        };
        let _ = place::remove_directory(&self.directory);
        if let Some(why) = why {
            self.report(Event::Ended(self.id), why);
        }
    }

    fn report(&self, event: Event, why: String) {
        // Fails only if the supervisor is gone.
        let _ = self.reports.send(Report { pool: self.pool, event, why });
    }

    /// Why it ended; `None` if that has been reported.
    async fn run_to_end(&self, mut orders: mpsc::UnboundedReceiver<Order>) -> Result<Option<String>> {
        image::private::create_dir_all(&self.directory)?;
        let (mut instance, at) = self.start().await?;
        let until = Until::new();
        // Dropping this guard stops all streams, however this function returns.
        let _cut = until.clone().drop_guard();
        let (_state, target) = at.target(&until);
        let ends = Some((self.tell.clone(), witness(&at, instance.pid())));
        let relay = Relay::bind_telling(&self.relay, target, Limits::default(), ends)?;
        let (open, signs, pings) = (relay.open(), relay.signs(), Pings::default());
        let _relay = Stopped(tokio::task::spawn_local(relay.run()).abort_handle());
        let mut answered = std::pin::pin!(at.answers(&self.question));
        let (mut is_up, mut leaves, mut asked) = (false, false, false);
        loop {
            tokio::select! {
                why = instance.ended() => {
                    // The supervisor tells the appliance before the streams end, so that it gives this worker no more requests.
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
                        if !self.ask_to_end(&at, &instance).await {
                            instance.kill().await;
                            return Ok(Some("ended by the supervisor".into()));
                        }
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Ping) => self.ping(&at, instance.pid(), &signs, &pings),
                    Some(Order::Retire) => leaves = true,
                    Some(Order::Orphan(command)) => {
                        until.cancel();
                        self.orphan(instance, &command).await;
                        return Ok(None);
                    }
                    Some(Order::Kill) | None => {
                        // End the streams first, so that the appliance notices at once.
                        until.cancel();
                        instance.kill().await;
                        return Ok(Some("ended by the supervisor".into()));
                    }
                },
            }
        }
    }

    async fn start(&self) -> Result<(Instance, Endpoint)> {
        match &self.place.kind {
            Kind::Vm(spec, port) => {
                let mut spec = spec.clone();
                spec.name = self.name();
                let vsock = self.directory.join("vsock");
                let vm = Vm::start(&spec, &self.host, &self.directory, &vsock).await?;
                let agent = spec.append.is_some();
                Ok((Instance::Vm(Box::new(vm)), Endpoint::Vsock { path: vsock, port: *port, agent }))
            }
            Kind::Process(process) => {
                let (at, value) = match process.listens_on {
                    ListensOn::Socket => {
                        let path = self.directory.join("socket");
                        let value = path.to_string_lossy().into_owned();
                        (Endpoint::Unix(path), value)
                    }
                    ListensOn::Port => {
                        let port = free_port()?;
                        (Endpoint::Tcp(port), port.to_string())
                    }
                };
                if let Some(user) = &process.user {
                    self.open_to(user)?;
                }
                let mut child = spawn(process, &value, &self.host.launcher)?;
                let serial = Serial::new(&self.name());
                serial.follow(child.stdout.take(), "")?;
                serial.follow(child.stderr.take(), "")?;
                Ok((Instance::Process(child, serial), at))
            }
        }
    }

    /// Gives a worker that runs as another user its directory, and lets that user traverse the directories above it without
    /// reading them.
    fn open_to(&self, user: &str) -> Result<()> {
        let named = || format!("giving {} to {user}", self.directory.display());
        let user = User::from_name(user)?.with_context(named)?;
        if user.uid == geteuid() {
            return Ok(());
        }
        std::os::unix::fs::chown(&self.directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .with_context(named)?;
        // The supervisor's directory, and the runtime directory above it.
        for above in self.directory.ancestors().skip(1).take(2) {
            let mode = std::fs::metadata(above).with_context(named)?.permissions().mode();
            std::fs::set_permissions(above, Permissions::from_mode(mode | 0o011)).with_context(named)?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}-{}", self.place.name, self.id)
    }

    /// Checks the worker's health in the background, so that an unhealthy worker can still be ended. While a ping is outstanding,
    /// data from the worker counts as a sign of life.
    fn ping(&self, at: &Endpoint, pid: Option<u32>, signs: &Signs, pings: &Pings) {
        if pings.under_way.replace(true) {
            if let Some(heard) = signs.heard() {
                self.report(Event::Heard(self.id, heard), String::new());
            }
            if pings.unhealthy.borrow().is_none() {
                self.report_health(pings, Some(Unhealthy::Silent));
            }
            return;
        }
        let (this, at, pings) = (self.clone(), at.clone(), pings.clone());
        tokio::task::spawn_local(async move {
            let answer =
                timeout(this.ping_limit, at.ping(&this.question)).await.unwrap_or(Err(Unhealthy::Silent));
            pings.under_way.set(false);
            match answer {
                Ok(memory) => {
                    let memory = memory.or_else(|| resident_bytes(pid?)).unwrap_or(0);
                    this.report(Event::Pong(this.id, memory), String::new());
                    this.report_health(&pings, None);
                }
                Err(unhealthy) => this.report_health(&pings, Some(unhealthy)),
            }
        });
    }

    /// Reports a change in the worker's health.
    fn report_health(&self, pings: &Pings, unhealthy: Option<Unhealthy>) {
        if pings.unhealthy.replace(unhealthy.clone()) != unhealthy {
            let why = unhealthy.map_or_else(String::new, |unhealthy| unhealthy.to_string());
            self.report(Event::HealthChanged(self.id), why);
        }
    }

    /// Asks it to end by itself. False if that is impossible, or it does not react.
    async fn ask_to_end(&self, at: &Endpoint, instance: &Instance) -> bool {
        match instance {
            Instance::Process(child, _) => {
                let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
                pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok())
            }
            Instance::Vm(_) => {
                let seconds = self.stop_limit.as_secs().try_into().unwrap_or(STOP_MAX_S).min(STOP_MAX_S);
                let asked = timeout(PROBE_LIMIT, at.ask_agent(Request::Stop { seconds })).await;
                matches!(asked, Ok(Ok(Answer::Stopping)))
            }
        }
    }

    /// Reports its end, and keeps the process for as long as it lives.
    async fn orphan(&self, mut instance: Instance, command: &[String]) {
        let pid = instance.pid().map_or_else(String::new, |pid| pid.to_string());
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
        instance.ended().await;
    }
}

/// A relay that stops some time after its worker, because streams that are on their way to it must still be closed properly.
struct Stopped(tokio::task::AbortHandle);

impl Drop for Stopped {
    fn drop(&mut self) {
        let task = self.0.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                sleep(RELAY_STAYS).await;
                task.abort();
            })),
            // Everything is ending.
            Err(_) => task.abort(),
        }
    }
}

impl Instance {
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

/// Starts a command that must listen at `place`, which replaces the placeholder in its arguments and environment and is also in
/// an environment variable.
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

/// Source of knowledge about how a worker's streams ended.
fn witness(at: &Endpoint, pid: Option<u32>) -> Witness {
    match (at, pid) {
        (Endpoint::Vsock { path, agent: true, .. }, _) => Witness::Agent(Rc::new(Agent::new(path.clone()))),
        (_, Some(pid)) => Witness::Process(pid),
        (_, None) => Witness::Nobody,
    }
}

/// A port that was free just now, outside the range of ephemeral ports: until the worker listens, a connection to such a port
/// might connect to itself.
fn free_port() -> Result<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32_768);
    // Distinct ports, so that workers starting at the same time do not get the same one.
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

/// Resident memory of a process in bytes.
fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
