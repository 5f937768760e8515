//! Decisions about a pool's workers, without I/O or a clock of its own.
//!
//! ```text
//!            ready                recycle, idle, order
//! Starting ───────────▶ Running ───────────────────────▶ Leaving
//!    │ ended, start        │ ended, ping limit              │ drained, stop limit, ended
//!    │ limit               ▼                                ▼
//!    └─────────────▶ failed: counted ──▶ back-off          gone
//! ```
//!
//! Workers are started on demand up to the pool's maximum, and kept running up to its minimum. When a worker is recycled, it
//! leaves only once its successor is ready. After consecutive failures the next start is delayed, each time four times as long.
//! Failures in quick succession take the pool out of service (rapid-fail protection). After a delay, which doubles each time, the
//! pool is retried, and a single failure takes it out again. An administrator may start it sooner; without `rapid_fail.recover`
//! only an administrator can.

pub use super::why::Why;
use image::config::Supervision;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Delay before the first start after a failure; four times as long after each consecutive failure, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long rapid-fail protection first keeps a pool out of service; doubled each time up to [`LONGEST_OUTAGE`].
const FIRST_OUTAGE: Duration = Duration::from_secs(10);
const LONGEST_OUTAGE: Duration = Duration::from_secs(600);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A worker that ran this long ends a series of consecutive failures; frequent deaths are left to rapid-fail protection.
const FORGIVEN_AFTER: Duration = Duration::from_secs(1);

/// Identifies a worker; never reused.
pub type WorkerId = u64;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Requests are queued and no worker can take them.
    Demand,
    /// A worker became ready.
    Answered(WorkerId),
    /// A worker responded to a ping and uses this many bytes of memory.
    Pong(WorkerId, u64),
    /// A worker's health changed; for display only.
    HealthChanged(WorkerId),
    /// A worker sent something at this time although its last ping is still outstanding.
    Heard(WorkerId, Instant),
    /// A worker ended, or could not be started.
    Ended(WorkerId),
    /// A worker's usage: requests since its start, and time since the last one.
    Usage(WorkerId, u64, Duration),
    /// Replace all workers.
    Recycle,
    /// Take out of service: workers finish their requests and end.
    Stop,
    /// Put into service.
    Start,
    /// The pool was found out of service because of failures under an earlier supervisor.
    FoundFailed,
    /// Stop starting workers; existing ones finish their requests and end. The pool stays in service for the next supervisor.
    Leave,
}

/// An action to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a worker for this entry of the pool's list.
    Start(WorkerId, usize),
    /// Announce it to the appliance.
    Announce(WorkerId),
    /// Check its health.
    Ping(WorkerId),
    /// Tell the appliance to give it no new requests, let it finish, and end it.
    Retire(WorkerId, Why),
    /// End it now.
    Kill(WorkerId, Why),
    /// Leave it to a debugger.
    Orphan(WorkerId),
    /// The pool takes requests.
    Open,
    /// The pool rejects requests: by rapid-fail protection, or by an administrator's command.
    Close(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    /// Finishes its requests.
    Leaving,
    /// Instruction to end; waiting for it.
    Ending,
}

#[derive(Clone, Debug)]
struct Worker {
    id: WorkerId,
    place: usize,
    state: State,
    /// When it entered this state.
    since: Instant,
    /// Time of its last response to a ping, and when the next ping is due.
    heard: Instant,
    ping_at: Instant,
    /// The worker that leaves when this one is ready, and why.
    replaces: Option<(WorkerId, Why)>,
}

/// The state of a pool's workers.
#[derive(Clone, Debug)]
pub struct PoolState {
    policy: Supervision,
    /// Maximum number of workers for each entry of the pool's list.
    places: Vec<u32>,
    workers: Vec<Worker>,
    next_id: WorkerId,
    actions: VecDeque<Action>,
    failures: VecDeque<Instant>,
    /// Consecutive failures, and the earliest time of the next start.
    in_a_row: u32,
    start_at: Option<Instant>,
    demanded: bool,
    in_service: bool,
    /// When a failed pool is retried.
    opens_at: Option<Instant>,
    /// When it was last retried, and how many consecutive retries failed.
    opened_at: Option<Instant>,
    outages: u32,
    /// The supervisor is ending.
    leaving: bool,
}

impl PoolState {
    /// A pool in service whose minimum of workers is started at once. `places` has the maximum number of workers for each entry
    /// of its list.
    pub fn new(policy: Supervision, places: Vec<u32>, now: Instant) -> Self {
        let mut pool = Self {
            policy,
            places,
            workers: Vec::new(),
            next_id: 1,
            actions: VecDeque::new(),
            failures: VecDeque::new(),
            in_a_row: 0,
            start_at: None,
            demanded: false,
            in_service: true,
            opens_at: None,
            opened_at: None,
            outages: 0,
            leaving: false,
        };
        pool.settle(now);
        pool
    }

    /// The next action to carry out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether the pool accepts requests.
    pub fn in_service(&self) -> bool {
        self.in_service
    }

    /// When a failed pool is retried; `None`: not automatically.
    pub fn opens_at(&self) -> Option<Instant> {
        self.opens_at
    }

    /// Number of running workers, including those that are leaving.
    pub fn running(&self) -> usize {
        self.workers.iter().filter(|w| matches!(w.state, State::Running | State::Leaving)).count()
    }

    /// Whether the minimum of workers is running, or the pool has given up.
    pub fn is_settled(&self) -> bool {
        let running = self.workers.iter().filter(|w| w.state == State::Running).count();
        !self.in_service || running >= self.policy.min_workers as usize
    }

    /// When [`PoolState::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let of = |w: &Worker| match w.state {
            State::Starting => Some(w.since + self.policy.start_limit),
            State::Running => {
                // Not counting what must first wait for another worker or a delay.
                let may_start = self.may_start() && self.start_at.is_none() && !self.is_replaced(w.id);
                let age = self.policy.recycle.age.filter(|_| may_start).map(|age| w.since + age);
                [Some(w.ping_at), Some(w.heard + self.policy.ping.limit), age].into_iter().flatten().min()
            }
            State::Leaving => Some(w.since + self.policy.stop_limit),
            State::Ending => None,
        };
        self.workers.iter().filter_map(of).chain(self.start_at).chain(self.opens_at).min()
    }

    /// Handles an event. Events about workers that are gone have no effect.
    pub fn on(&mut self, event: Event, now: Instant) {
        match event {
            // Demand that cannot be met now is reported again once a worker has gone.
            Event::Demand => {
                self.demanded = self.in_service && self.own().count() < self.policy.max_workers as usize
            }
            Event::Answered(id) => self.answered(id, now),
            Event::Pong(id, memory) => {
                let limit = self.policy.recycle.memory;
                if let Some(worker) = self.find(id) {
                    worker.heard = now;
                }
                if limit.is_some_and(|limit| memory > limit) {
                    self.replace(id, Why::Memory, now);
                }
            }
            Event::Heard(id, at) => {
                if let Some(worker) = self.find(id) {
                    worker.heard = worker.heard.max(at);
                }
            }
            Event::HealthChanged(_) => {}
            Event::Ended(id) => self.ended(id, now),
            Event::Usage(id, requests, unused) => {
                if self.policy.recycle.requests.is_some_and(|limit| requests >= limit) {
                    self.replace(id, Why::Requests, now);
                } else if self.policy.idle_stop.is_some_and(|limit| unused >= limit)
                    && self.count(State::Running) > self.policy.min_workers as usize
                {
                    self.retire(id, Why::Idle, now);
                }
            }
            Event::Recycle => {
                let all: Vec<_> =
                    self.workers.iter().filter(|w| w.state == State::Running).map(|w| w.id).collect();
                all.into_iter().for_each(|id| self.replace(id, Why::Order, now));
            }
            Event::Stop => {
                if self.opens_at.take().is_some() {
                    // It was out of service already, but for another reason.
                    self.actions.push_back(Action::Close(Why::Order));
                }
                self.close(Why::Order, now);
            }
            Event::Start => {
                self.open();
                self.failures.clear();
                (self.in_a_row, self.outages) = (0, 0);
            }
            Event::FoundFailed => {
                self.in_service = false;
                self.end_all(Why::RapidFail, now);
                self.open_later(now);
            }
            Event::Leave => {
                self.leaving = true;
                self.end_all(Why::Order, now);
            }
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            let (policy, worker) = (&self.policy, &self.workers[index]);
            let (id, ran) = (worker.id, now.saturating_duration_since(worker.since));
            match worker.state {
                State::Starting if ran >= policy.start_limit => self.fail(id, Why::StartLimit, now),
                State::Running if now.saturating_duration_since(worker.heard) >= policy.ping.limit => {
                    self.fail(id, Why::PingLimit, now);
                }
                State::Running => {
                    let old = policy.recycle.age.is_some_and(|age| ran >= age);
                    if worker.ping_at <= now {
                        self.workers[index].ping_at = now + self.policy.ping.interval;
                        self.actions.push_back(Action::Ping(id));
                    }
                    if old {
                        self.replace(id, Why::Age, now);
                    }
                }
                State::Leaving if ran >= policy.stop_limit => {
                    self.set(id, State::Ending, now);
                    self.actions.push_back(Action::Kill(id, Why::StopLimit));
                }
                _ => {}
            }
        }
        if self.start_at.is_some_and(|at| at <= now) {
            self.start_at = None;
        }
        if self.opens_at.is_some_and(|at| at <= now) {
            self.open();
            self.opened_at = Some(now);
            // A single failure is enough now.
            let most = self.policy.rapid_fail.map_or(0, |(limit, _)| limit.saturating_sub(1));
            self.failures.truncate(most as usize);
            self.failures.iter_mut().for_each(|at| *at = now);
        }
        self.settle(now);
    }

    fn open(&mut self) {
        (self.start_at, self.opens_at) = (None, None);
        if !std::mem::replace(&mut self.in_service, true) {
            self.actions.push_back(Action::Open);
        }
    }

    fn open_later(&mut self, now: Instant) {
        let within = self.policy.rapid_fail.map_or(Duration::ZERO, |(_, within)| within);
        if self.opened_at.is_none_or(|at| now.saturating_duration_since(at) > within) {
            self.outages = 0;
        }
        let pause = (FIRST_OUTAGE * (1 << self.outages.min(16))).min(LONGEST_OUTAGE);
        self.outages += 1;
        self.opens_at = (self.policy.recover && !self.leaving).then(|| now + pause);
    }

    fn may_start(&self) -> bool {
        self.in_service && !self.leaving
    }

    fn find(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|w| w.id == id)
    }

    /// Workers that are running or starting, not counting those that are leaving or successors of others.
    fn own(&self) -> impl Iterator<Item = &Worker> {
        let stays = |w: &&Worker| matches!(w.state, State::Starting | State::Running) && w.replaces.is_none();
        self.workers.iter().filter(stays)
    }

    fn count(&self, state: State) -> usize {
        self.workers.iter().filter(|w| w.state == state).count()
    }

    fn set(&mut self, id: WorkerId, state: State, now: Instant) {
        if let Some(worker) = self.find(id) {
            (worker.state, worker.since) = (state, now);
        }
    }

    fn is_replaced(&self, id: WorkerId) -> bool {
        self.workers
            .iter()
            .any(|w| w.replaces.is_some_and(|(old, _)| old == id) && w.state == State::Starting)
    }

    fn answered(&mut self, id: WorkerId, now: Instant) {
        let ping_at = now + self.policy.ping.interval;
        let Some(worker) = self.find(id).filter(|w| w.state == State::Starting) else { return };
        (worker.state, worker.since, worker.heard, worker.ping_at) = (State::Running, now, now, ping_at);
        let replaced = worker.replaces.take();
        self.demanded = false;
        self.actions.push_back(Action::Announce(id));
        if let Some((old, why)) = replaced {
            self.retire(old, why, now);
        }
    }

    fn ended(&mut self, id: WorkerId, now: Instant) {
        let Some(index) = self.workers.iter().position(|w| w.id == id) else { return };
        let worker = self.workers.remove(index);
        match worker.state {
            State::Starting => self.failed(now),
            State::Running => {
                if now.saturating_duration_since(worker.since) >= FORGIVEN_AFTER {
                    self.in_a_row = 0;
                }
                self.failed(now);
            }
            State::Leaving | State::Ending => {}
        }
    }

    /// Handles a worker that misbehaves.
    fn fail(&mut self, id: WorkerId, why: Why, now: Instant) {
        self.set(id, State::Ending, now);
        let orphan = why == Why::PingLimit && self.policy.orphan.is_some();
        self.actions.push_back(if orphan { Action::Orphan(id) } else { Action::Kill(id, why) });
        self.failed(now);
    }

    fn failed(&mut self, now: Instant) {
        self.in_a_row += 1;
        let steps = (self.in_a_row - 1).min(8);
        self.start_at = Some(now + (FIRST_PAUSE * 4_u32.pow(steps)).min(LONGEST_PAUSE));
        let Some((limit, within)) = self.policy.rapid_fail else { return };
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|at| now.saturating_duration_since(*at) > within) {
            self.failures.pop_front();
        }
        if self.failures.len() >= limit as usize {
            self.close(Why::RapidFail, now);
        }
    }

    /// Number of failures that currently count for rapid-fail protection.
    pub fn failures(&self) -> usize {
        self.failures.len()
    }

    fn close(&mut self, why: Why, now: Instant) {
        if !std::mem::replace(&mut self.in_service, false) {
            return;
        }
        if why == Why::RapidFail {
            self.open_later(now);
        }
        self.actions.push_back(Action::Close(why));
        self.end_all(why, now);
    }

    fn end_all(&mut self, why: Why, now: Instant) {
        (self.demanded, self.start_at) = (false, None);
        for (id, state) in self.workers.iter().map(|w| (w.id, w.state)).collect::<Vec<_>>() {
            match state {
                State::Starting => {
                    self.set(id, State::Ending, now);
                    self.actions.push_back(Action::Kill(id, why));
                }
                State::Running => self.retire(id, why, now),
                State::Leaving | State::Ending => {}
            }
        }
    }

    fn retire(&mut self, id: WorkerId, why: Why, now: Instant) {
        if self.find(id).is_some_and(|w| w.state == State::Running) {
            self.set(id, State::Leaving, now);
            self.actions.push_back(Action::Retire(id, why));
        }
    }

    /// Starts a successor, unless there is one already.
    fn replace(&mut self, id: WorkerId, why: Why, now: Instant) {
        let running = self.find(id).filter(|w| w.state == State::Running).map(|w| w.place);
        let Some(place) = running.filter(|_| self.may_start() && !self.is_replaced(id)) else { return };
        if self.start_at.is_none() {
            self.start(place, Some((id, why)), now);
        }
    }

    fn start(&mut self, place: usize, replaces: Option<(WorkerId, Why)>, now: Instant) {
        let id = self.next_id;
        self.next_id += 1;
        let state = State::Starting;
        self.workers.push(Worker { id, place, state, since: now, heard: now, ping_at: now, replaces });
        self.actions.push_back(Action::Start(id, place));
    }

    /// Starts missing workers.
    fn settle(&mut self, now: Instant) {
        while self.may_start() && self.start_at.is_none() {
            let own =
                |w: &&Worker| matches!(w.state, State::Starting | State::Running) && w.replaces.is_none();
            let there = self.workers.iter().filter(own).count();
            let starting = self.workers.iter().filter(own).any(|w| w.state == State::Starting);
            let wanted = there < self.policy.min_workers as usize
                || (self.demanded && !starting && there < self.policy.max_workers as usize);
            let taken = |place| self.own().filter(|w| w.place == place).count();
            let free = self.places.iter().enumerate().position(|(place, n)| taken(place) < *n as usize);
            let Some(place) = free.filter(|_| wanted) else { return };
            self.start(place, None, now);
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
