//! The supervisor, which manages workers as WAS does for IIS: it starts them when requests are queued, checks and replaces them,
//! and reports them to the appliance.
//!
//! | module | purpose |
//! |---|---|
//! | [`pool`] | decisions: a state machine without I/O or clock |
//! | `perform` | carries them out |
//! | [`worker`] | one worker from start to end: VM or process, and its relay |
//! | `address` | health checks of servers at an address |
//! | `endpoint`, `check` | where a worker listens, and how its health is checked |
//! | [`client`] | the control connection to the appliance |
//! | `order` | administrators' commands, and when they are in effect |
//! | `plan` | derives the work from a configuration |
//!
//! The appliance keeps serving without a supervisor, and queues requests for workers. When a supervisor connects, it first tells
//! the appliance which known workers are gone with the relays of an earlier supervisor, so that their requests are replayed at
//! once, and then announces its own.

mod address;
mod check;
pub mod client;
mod endpoint;
mod order;
mod perform;
pub(crate) mod plan;
pub mod pool;
mod why;
pub mod worker;

pub use order::{Handle, Outcome, PoolOrder};

use crate::relay::Relay;
use crate::relay::target::Target;
use crate::vm::Host;
use address::Change;
use anyhow::{Result, bail};
use client::{Client, Notification};
use image::config::Supervision;
use model::control::message::{PoolInfo, Request};
use model::id::PoolId;
use model::pool::{Outage, Service};
use model::settings::Worker;
use pool::{Event, PoolState, WorkerId};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use worker::{Order, Place, Report};

/// First host vsock port of relays; every worker gets the next one.
pub const RELAY_PORT_BASE: u32 = 10_000;
/// The host's context identifier.
const HOST_CID: u32 = 2;
/// Interval at which the appliance is asked for usage, if a worker's end depends on it.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of checks whether all workers have left.
const LEAVE_PAUSE: Duration = Duration::from_millis(50);

/// A pool to supervise.
#[derive(Clone, Debug)]
pub struct PoolPlan {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub policy: Supervision,
    /// Workers to start.
    pub places: Vec<Place>,
    /// Existing servers to relay to.
    pub addresses: Vec<Target>,
    /// Its links use TLS.
    pub secured: bool,
}

/// Commands to a supervisor.
#[derive(Debug)]
enum Instruction {
    Order(PoolId, PoolOrder, oneshot::Sender<Outcome>),
    Leave,
}

struct Pool {
    plan: PoolPlan,
    state: PoolState,
    members: BTreeMap<WorkerId, Member>,
    /// Relays to existing servers.
    addresses: Vec<Address>,
    /// Description of the last failure.
    last_failure: String,
    /// Why the pool is out of service.
    out: Option<Outage>,
}

/// A relay to an existing server.
struct Address {
    port: u32,
    /// Number of open streams.
    open: Rc<Cell<usize>>,
    /// For messages.
    name: String,
    /// Why it is down.
    down: Option<String>,
}

/// A started worker.
struct Member {
    orders: mpsc::UnboundedSender<Order>,
    /// Host vsock port at which the appliance reaches it.
    port: u32,
    /// Whether the appliance knows it and has not been told that it is leaving.
    announced: bool,
}

/// Supervises all pools of one appliance.
pub struct Supervisor {
    host: Host,
    directory: PathBuf,
    /// The appliance's vsock.
    vsock: PathBuf,
    pools: Vec<Pool>,
    next_port: u32,
    client: Client,
    reports: mpsc::UnboundedSender<Report>,
    changes: mpsc::UnboundedSender<Change>,
    tasks: JoinSet<()>,
    settled: watch::Sender<bool>,
    /// The appliance's pools have been compared with ours, and their states adopted.
    met: bool,
    /// Whether readiness requires contact with the appliance. Not needed if the appliance is started by the same process, where
    /// its first response says more: the vsock daemon may be late, and matters only for requests to workers.
    meets_first: bool,
    /// When unfinished workers are abandoned.
    leaves_at: Option<Instant>,
}

impl Supervisor {
    /// Supervises the pools of the appliance whose vsock is at `vsock`; workers' sockets go to `directory`. No other supervisor
    /// may do so at the same time; leftovers of a killed one are removed. Run the returned future on a [`tokio::task::LocalSet`]:
    /// it ends when told to leave, or when the appliance turns out to have other pools. The receiver says whether every pool has
    /// its minimum of workers and, with `meets_first`, the appliance is connected.
    pub fn start(
        plans: Vec<PoolPlan>,
        host: Host,
        directory: PathBuf,
        vsock: PathBuf,
        meets_first: bool,
    ) -> Result<(Handle, watch::Receiver<bool>, impl Future<Output = Result<()>>)> {
        let (news, told) = mpsc::unbounded_channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let (orders, ordered) = mpsc::unbounded_channel();
        let (changes, changed) = mpsc::unbounded_channel();
        let (client, connection) = Client::start(vsock.clone(), Some(news));
        let names = plans.iter().map(|plan| plan.name.clone()).collect();
        let handle = Handle { orders, client: client.clone(), pools: names };
        let (settled, is_settled) = watch::channel(false);
        // The appliance may still have streams to relay ports of an earlier supervisor.
        let last_port = Relay::remove_stale(&vsock, RELAY_PORT_BASE)?;
        let mut supervisor = Self {
            host,
            directory,
            vsock,
            pools: Vec::new(),
            next_port: last_port.map_or(RELAY_PORT_BASE, |port| port.wrapping_add(1).max(RELAY_PORT_BASE)),
            client,
            reports,
            changes,
            tasks: JoinSet::new(),
            settled,
            met: false,
            meets_first,
            leaves_at: None,
        };
        supervisor.tasks.spawn_local(connection);
        for plan in plans {
            supervisor.add(plan)?;
        }
        Ok((handle, is_settled, supervisor.run(told, reported, ordered, changed)))
    }

    fn port(&mut self) -> u32 {
        self.next_port += 1;
        self.next_port - 1
    }

    async fn run(
        mut self,
        mut news: mpsc::UnboundedReceiver<Notification>,
        mut reports: mpsc::UnboundedReceiver<Report>,
        mut orders: mpsc::UnboundedReceiver<Instruction>,
        mut changes: mpsc::UnboundedReceiver<Change>,
    ) -> Result<()> {
        let mut usage = interval(USAGE_INTERVAL);
        let (infos, mut informed) = mpsc::channel(1);
        let (met, mut meetings) = mpsc::channel(1);
        loop {
            self.act();
            if self.has_left() {
                return Ok(());
            }
            let deadline = self.pools.iter().filter_map(|pool| pool.state.deadline()).min();
            tokio::select! {
                Some(news) = news.recv() => match news {
                    Notification::Connected => self.ask_pools(met.clone()),
                    Notification::Demand(pool, waited) => self.demanded(pool, waited),
                },
                Some(pools) = meetings.recv() => {
                    if let Some(pools) = pools {
                        self.meet(&pools)?;
                    }
                    self.announce_all();
                }
                Some(report) = reports.recv() => self.take(report),
                Some(change) = changes.recv() => self.changed(change),
                Some(told) = orders.recv() => match told {
                    Instruction::Leave => self.leave().await,
                    Instruction::Order(pool, order, done) => self.follow(pool, order, done),
                },
                () = until(deadline) => {
                    let now = Instant::now();
                    self.pools.iter_mut().for_each(|pool| pool.state.tick(now));
                }
                _ = usage.tick(), if self.needs_usage() => self.ask_usage(infos.clone()),
                Some(pools) = informed.recv() => self.use_usage(&pools),
                Some(_) = self.tasks.join_next() => {}
                () = sleep(LEAVE_PAUSE), if self.leaves_at.is_some() => {}
            }
        }
    }

    fn on(&mut self, pool: PoolId, event: Event) {
        if let Some(pool) = self.pools.get_mut(pool.index()) {
            pool.state.on(event, Instant::now());
        }
    }

    /// Carries out a command, and reports once it is in effect in the appliance.
    fn follow(&mut self, pool: PoolId, order: PoolOrder, done: oneshot::Sender<Outcome>) {
        self.on(pool, order.into());
        self.act();
        let running = self.pools.get(pool.index()).map_or(0, |pool| pool.state.running());
        let client = self.client.clone();
        self.tasks.spawn_local(async move {
            // Fails if the client has gone.
            let _ = done.send(order::confirm(&client, pool, order, running).await);
        });
    }

    fn demanded(&mut self, pool: PoolId, waited: Duration) {
        if let Some(found) = self.pools.get(pool.index()) {
            eprintln!("[weir] pool {} needs a worker: told after {} µs", found.plan.name, waited.as_micros());
        }
        self.on(pool, Event::Demand);
    }

    /// After connecting: asks what the appliance knows. Without a reply it is assumed to know nothing.
    fn ask_pools(&mut self, met: mpsc::Sender<Option<Vec<PoolInfo>>>) {
        let client = self.client.clone();
        self.tasks.spawn_local(async move {
            let _ = met.send(client.pools().await.ok()).await;
        });
    }

    /// Synchronises with the appliance. Fails if its pools differ from ours.
    fn meet(&mut self, infos: &[PoolInfo]) -> Result<()> {
        let (theirs, ours) = (infos.iter().map(|info| info.name.as_str()), self.names());
        if !theirs.clone().eq(ours.iter().copied()) {
            bail!(
                "the appliance has the pools {}, the configuration {}; expected the same configuration for both",
                theirs.collect::<Vec<_>>().join(", "),
                ours.join(", ")
            );
        }
        let adopts = !std::mem::replace(&mut self.met, true);
        for (id, info) in PoolId::first(self.pools.len()).zip(infos) {
            let disabled = [model::pool::PoolState::Disabling, model::pool::PoolState::Disabled];
            let disabled = disabled.map(|state| state as u8).contains(&info.state);
            let pool = &self.pools[id.index()];
            for worker in info.workers.iter().filter(|w| w.address.cid == HOST_CID && !pool.has(w.address)) {
                let address = worker.address;
                eprintln!("[weir] pool {}: a worker of an earlier supervisor is gone", pool.plan.name);
                self.client.tell(Request::WorkerGone { pool: id, address, died: false });
            }
            if disabled && adopts {
                let failed = info.out.as_ref().is_some_and(|out| out.failures);
                self.pools[id.index()].out = info.out.clone();
                self.on(id, if failed { Event::FoundFailed } else { Event::Stop });
                if failed {
                    self.explain_outage(id);
                }
            } else if disabled && pool.state.in_service() {
                self.client.tell(Request::SetService { pool: id, service: Service::Open, out: None });
            }
        }
        Ok(())
    }

    fn names(&self) -> Vec<&str> {
        self.pools.iter().map(|pool| pool.plan.name.as_str()).collect()
    }

    /// Announces all workers on a new connection.
    fn announce_all(&self) {
        for (id, pool) in PoolId::first(self.pools.len()).zip(&self.pools) {
            let announced = pool.members.values().filter(|member| member.announced).map(|member| member.port);
            let there = || pool.addresses.iter().filter(|_| self.leaves_at.is_none());
            for port in there().map(|there| there.port).chain(announced) {
                self.client.tell(Request::WorkerUp { pool: id, address: at(port), named: true });
            }
            for there in there() {
                self.client.tell(there.is(id));
            }
            if !pool.state.in_service() {
                let (service, out) = (Service::Offline, pool.out.clone());
                self.client.tell(Request::SetService { pool: id, service, out });
            }
        }
    }

    /// Starts leaving.
    async fn leave(&mut self) {
        let limit = self.pools.iter().map(|pool| pool.plan.policy.stop_limit).max();
        self.leaves_at = Some(Instant::now() + limit.unwrap_or_default());
        for pool in PoolId::first(self.pools.len()) {
            self.on(pool, Event::Leave);
            for there in &self.pools[pool.index()].addresses {
                // Leave even without a reply.
                let _ = self.client.ask(Request::WorkerLeaving { pool, address: at(there.port) }).await;
            }
        }
    }

    /// Whether the supervisor was told to leave and all workers are gone, or the time is over.
    fn has_left(&self) -> bool {
        let unused = |pool: &Pool| pool.addresses.iter().all(|there| there.open.get() == 0);
        self.leaves_at.is_some_and(|limit| {
            let done = self.pools.iter().all(|pool| pool.members.is_empty() && unused(pool));
            done || Instant::now() >= limit + LEAVE_PAUSE
        })
    }

    /// Carries out the actions of all pools.
    fn act(&mut self) {
        for pool in PoolId::first(self.pools.len()) {
            while let Some(action) = self.pools[pool.index()].state.next_action() {
                self.perform(pool, action);
            }
        }
        let settled =
            (self.met || !self.meets_first) && self.pools.iter().all(|pool| pool.state.is_settled());
        self.settled.send_if_modified(|now| std::mem::replace(now, settled) != settled);
    }

    fn needs_usage(&self) -> bool {
        let counts = |p: &Supervision| p.idle_stop.is_some() || p.recycle.requests.is_some();
        self.pools.iter().any(|pool| counts(&pool.plan.policy) && pool.state.running() > 0)
    }

    fn ask_usage(&self, infos: mpsc::Sender<Vec<PoolInfo>>) {
        let client = self.client.clone();
        tokio::task::spawn_local(async move {
            if let Ok(pools) = client.pools().await {
                let _ = infos.send(pools).await;
            }
        });
    }

    fn use_usage(&mut self, infos: &[PoolInfo]) {
        for (pool, info) in self.pools.iter_mut().zip(infos) {
            for worker in &info.workers {
                let mine = pool.members.iter().find(|(_, member)| at(member.port) == worker.address);
                let Some(id) = mine.map(|(id, _)| *id) else { continue };
                // A worker with a request is not idle, however long that takes.
                let unused = if worker.in_hand > 0 { 0 } else { worker.unused_ms };
                let event = Event::Usage(id, worker.served, Duration::from_millis(unused));
                pool.state.on(event, Instant::now());
            }
        }
    }
}

impl Pool {
    /// Whether this address belongs to one of our workers.
    fn has(&self, address: Worker) -> bool {
        let there = self.addresses.iter().map(|there| there.port);
        there.chain(self.members.values().map(|member| member.port)).any(|port| at(port) == address)
    }

    /// Sends an order to a worker; dropped if the worker has ended.
    fn order(&self, id: WorkerId, order: Order) {
        if let Some(member) = self.members.get(&id) {
            let _ = member.orders.send(order);
        }
    }
}

impl Address {
    /// The announcement of an address to the appliance.
    fn is(&self, pool: PoolId) -> Request {
        let note = match &self.down {
            Some(why) => format!("{} {why}", self.name),
            None => self.name.clone(),
        };
        Request::WorkerReport { pool, address: at(self.port), down: self.down.is_some(), note }
    }
}

fn at(port: u32) -> Worker {
    Worker { cid: HOST_CID, port }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep(at.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}
