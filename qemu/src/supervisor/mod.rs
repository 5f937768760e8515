//! Looks after workers, as WAS does for IIS: starts them when the appliance says that requests wait, keeps them well, replaces
//! them, and tells the appliance who is there.
//!
//! | module | what |
//! |---|---|
//! | [`pool`] | decides; a state machine without input, output or clock |
//! | `perform` | what the decisions come to |
//! | [`worker`] | one worker from start to end: VM or process, and its relay |
//! | `address` | a server that was there already: whether it is well |
//! | `at`, `check` | where a worker listens, and how it is asked whether it is well |
//! | [`client`] | the control connection to the appliance |
//! | `order` | orders of administrators, and when they are in force |
//! | `plan` | from a configuration to what there is to be done |
//!
//! The appliance serves on when the supervisor is away, and holds the requests that wait. A supervisor that connects, for the
//! first time or again, tells the appliance which of the workers that it knows are gone with the relays of an earlier
//! supervisor, so that what they had is asked again at once, and announces its own.

mod address;
mod at;
mod check;
pub mod client;
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
use client::{Client, News};
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

/// The first host vsock port of the relays; every worker gets the next one.
pub const RELAY_PORT_BASE: u32 = 10_000;
/// The host's context identifier.
const HOST_CID: u32 = 2;
/// How often the appliance is asked what workers have done, where somebody's end depends on it.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at whether everything has left.
const LEAVE_PAUSE: Duration = Duration::from_millis(50);

/// A pool to look after.
#[derive(Clone, Debug)]
pub struct PoolPlan {
    /// Its name.
    pub name: String,
    /// How.
    pub policy: Supervision,
    /// Workers that are started.
    pub places: Vec<Place>,
    /// Workers that are there already, and are relayed to.
    pub addresses: Vec<Target>,
    /// Its links carry TLS.
    pub secured: bool,
}

/// What a supervisor is told by its own side.
#[derive(Debug)]
enum Told {
    Order(PoolId, PoolOrder, oneshot::Sender<Outcome>),
    Leave,
}

struct Pool {
    plan: PoolPlan,
    state: PoolState,
    members: BTreeMap<WorkerId, Member>,
    /// Relays to workers that were there already.
    addresses: Vec<Address>,
    /// What the last failure was, in words.
    last_failure: String,
    /// Why it is out of service.
    out: Option<Outage>,
}

/// A relay to a worker that was not started here.
struct Address {
    port: u32,
    /// Its streams.
    open: Rc<Cell<usize>>,
    /// For people.
    name: String,
    /// Why it is down.
    down: Option<String>,
}

/// A worker that was started.
struct Member {
    orders: mpsc::UnboundedSender<Order>,
    /// The host's vsock port at which the appliance reaches it.
    port: u32,
    /// The appliance knows it, and has not been told that it leaves.
    announced: bool,
}

/// Looks after all pools of one appliance.
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
    /// The appliance's pools are known to be ours, in the state in which it has them.
    met: bool,
    /// It counts as settled only once it has met the appliance. Where that is started beside it, its own first answer says
    /// more: the vsock daemon may be late, and requests need it only when they are for workers.
    meets_first: bool,
    /// When workers that are not done are left behind.
    leaves_at: Option<Instant>,
}

impl Supervisor {
    /// Starts to look after the pools of the appliance whose vsock is at `vsock`; workers get their sockets in `directory`. No
    /// other supervisor may do so at the same time; what a killed one has left behind is removed.
    /// Runs with the future given back, on a [`tokio::task::LocalSet`], until it is told to leave or finds that the appliance has
    /// other pools. The receiver says whether every pool has the workers that
    /// are kept running and, with `meets_first`, the appliance is there.
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
        // The appliance may still have streams to the ports of an earlier supervisor.
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
        mut news: mpsc::UnboundedReceiver<News>,
        mut reports: mpsc::UnboundedReceiver<Report>,
        mut orders: mpsc::UnboundedReceiver<Told>,
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
                    News::Connected => self.ask_pools(met.clone()),
                    News::Demand(pool, waited) => self.demanded(pool, waited),
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
                    Told::Leave => self.leave().await,
                    Told::Order(pool, order, done) => self.follow(pool, order, done),
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

    /// Does what was ordered, and says so when the appliance does it.
    fn follow(&mut self, pool: PoolId, order: PoolOrder, done: oneshot::Sender<Outcome>) {
        self.on(pool, order.into());
        self.act();
        let running = self.pools.get(pool.index()).map_or(0, |pool| pool.state.running());
        let client = self.client.clone();
        self.tasks.spawn_local(async move {
            // Fails if whoever ordered it has gone.
            let _ = done.send(order::confirm(&client, pool, order, running).await);
        });
    }

    fn demanded(&mut self, pool: PoolId, waited: Duration) {
        if let Some(found) = self.pools.get(pool.index()) {
            eprintln!("[weir] pool {} needs a worker: told after {} µs", found.plan.name, waited.as_micros());
        }
        self.on(pool, Event::Demand);
    }

    /// On a connection that has just come up: what the appliance knows. Without an answer it is taken to know nothing.
    fn ask_pools(&mut self, met: mpsc::Sender<Option<Vec<PoolInfo>>>) {
        let client = self.client.clone();
        self.tasks.spawn_local(async move {
            let _ = met.send(client.pools().await.ok()).await;
        });
    }

    /// Brings the appliance and ourselves to know the same. Fails if its pools are others than ours.
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

    /// What a connection that has just come up has to know.
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

    /// Begins to end.
    async fn leave(&mut self) {
        let limit = self.pools.iter().map(|pool| pool.plan.policy.stop_limit).max();
        self.leaves_at = Some(Instant::now() + limit.unwrap_or_default());
        for pool in PoolId::first(self.pools.len()) {
            self.on(pool, Event::Leave);
            for there in &self.pools[pool.index()].addresses {
                // Without an answer we go as well.
                let _ = self.client.ask(Request::WorkerLeaving { pool, address: at(there.port) }).await;
            }
        }
    }

    /// Whether it was told to leave and nobody is left, or not before the time is over.
    fn has_left(&self) -> bool {
        let unused = |pool: &Pool| pool.addresses.iter().all(|there| there.open.get() == 0);
        self.leaves_at.is_some_and(|limit| {
            let done = self.pools.iter().all(|pool| pool.members.is_empty() && unused(pool));
            done || Instant::now() >= limit + LEAVE_PAUSE
        })
    }

    /// Does what the pools' states ask for.
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
                // One with a request in hand is not idle, however long that takes.
                let unused = if worker.in_hand > 0 { 0 } else { worker.unused_ms };
                let event = Event::Usage(id, worker.served, Duration::from_millis(unused));
                pool.state.on(event, Instant::now());
            }
        }
    }
}

impl Pool {
    /// Whether a worker at this address is one of ours.
    fn has(&self, address: Worker) -> bool {
        let there = self.addresses.iter().map(|there| there.port);
        there.chain(self.members.values().map(|member| member.port)).any(|port| at(port) == address)
    }

    /// Told to a worker that has ended it is lost.
    fn order(&self, id: WorkerId, order: Order) {
        if let Some(member) = self.members.get(&id) {
            let _ = member.orders.send(order);
        }
    }
}

impl Address {
    /// What the appliance is to know of it.
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
