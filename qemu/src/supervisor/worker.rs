//! A worker VM under supervision.

use super::lifecycle::{Action, Event, Lifecycle, Policy};
use crate::relay::target::{Running, Target, Until, connect_vsock};
use crate::vm::{Host, Spec, Vm};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// First pause between two looks at whether a starting VM answers. It grows by an eighth each time: a VM that needs seconds
/// gets few looks, because each that comes while its driver starts may stop the vsock daemon's thread for good.
const PROBE_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PROBE_PAUSE: Duration = Duration::from_millis(500);
/// The daemon may take this long to say whether the VM accepts. Long, because giving up on a stream that the daemon has
/// not looked at yet costs it a file descriptor for good.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// A worker VM that is started, watched and started again.
#[derive(Debug)]
pub struct WorkerVm {
    spec: Spec,
    port: u32,
    host: Host,
    directory: PathBuf,
    state: watch::Sender<Option<Running>>,
    lifecycle: Lifecycle,
}

impl WorkerVm {
    /// A worker listening on vsock `port`, with its sockets in `directory`.
    pub fn new(spec: Spec, port: u32, host: Host, directory: &Path, policy: Policy) -> Self {
        let lifecycle = Lifecycle::new(policy, Instant::now());
        Self { spec, port, host, directory: directory.to_owned(), state: watch::Sender::new(None), lifecycle }
    }

    /// What the relay needs to know of it.
    pub fn target(&self) -> Target {
        Target::Vm(self.state.subscribe())
    }

    /// Tells when it is up.
    pub fn subscribe(&self) -> watch::Receiver<Option<Running>> {
        self.state.subscribe()
    }

    /// Keeps the worker running. Returns only to give it up, with the reason.
    pub async fn run(mut self) -> Result<()> {
        let mut vm: Option<Vm> = None;
        let mut why = String::new();
        loop {
            let event = self.next_event(vm.as_mut(), &mut why).await;
            match self.lifecycle.on(event, Instant::now()) {
                Action::None => {}
                Action::Start => match self.start().await {
                    Ok(started) => vm = Some(started),
                    Err(error) => {
                        why = format!("{error:#}");
                        let action = self.lifecycle.on(Event::Ended, Instant::now());
                        self.gone(action, &why)?;
                    }
                },
                Action::Announce => {
                    if let Some(vm) = &vm {
                        let (vsock, until) = (vm.vsock().to_owned(), Until::new());
                        self.state.send_replace(Some(Running { vsock, port: self.port, until }));
                    }
                }
                action @ (Action::Stop | Action::GiveUp) => {
                    // First of all the streams, so that the appliance learns of it at once.
                    if let Some(running) = self.state.send_replace(None) {
                        running.until.cancel();
                    }
                    if let Some(vm) = vm.take() {
                        vm.stop().await;
                    }
                    self.gone(action, &why)?;
                }
            }
        }
    }

    async fn next_event(&self, vm: Option<&mut Vm>, why: &mut String) -> Event {
        let deadline = async {
            match self.lifecycle.deadline() {
                Some(at) => sleep(at.saturating_duration_since(Instant::now())).await,
                None => std::future::pending().await,
            }
        };
        let Some(vm) = vm else {
            deadline.await;
            return Event::Deadline;
        };
        let vsock = vm.vsock().to_owned();
        let is_up = self.state.borrow().is_some();
        let answered = async {
            if is_up {
                std::future::pending::<()>().await;
            }
            answers(&vsock, self.port).await;
        };
        tokio::select! {
            cause = vm.ended() => { *why = cause; Event::Ended }
            () = deadline => {
                *why = format!("{}: does not answer on vsock port {}; {}", self.spec.name, self.port, vm.serial().tail());
                Event::Deadline
            }
            () = answered => Event::Answered,
        }
    }

    async fn start(&self) -> Result<Vm> {
        Vm::start(&self.spec, &self.host, &self.directory, &self.directory.join("vsock")).await
    }

    fn gone(&self, action: Action, why: &str) -> Result<()> {
        if action == Action::GiveUp {
            bail!("worker given up: {why}");
        }
        eprintln!("[{}] starting again: {why}", self.spec.name);
        Ok(())
    }
}

/// Waits until a VM accepts a stream.
async fn answers(vsock: &Path, port: u32) {
    let mut pause = PROBE_PAUSE;
    // Until the VM's driver is up the daemon closes every stream at once.
    while !matches!(timeout(PROBE_LIMIT, connect_vsock(vsock, port)).await, Ok(Ok(_))) {
        sleep(pause).await;
        pause = (pause + pause / 8).min(LONGEST_PROBE_PAUSE);
    }
}
