//! What a pool's workers have to be, and what leads there: decides, without input, output or clock of its own.
//!
//! ```text
//!            answered             recycle, idle, order
//! Starting ───────────▶ Running ───────────────────────▶ Leaving
//!    │ ended, start        │ ended, ping limit              │ drained, stop limit, ended
//!    │ limit               ▼                                ▼
//!    └─────────────▶ failed: counted ──▶ back-off          gone
//! ```
//!
//! Workers are started on demand up to the pool's maximum and kept up to its minimum. A worker that is to be replaced
//! (recycling) leaves only when its successor answers. Failures in quick succession take the pool out of service
//! (rapid-fail protection) until an administrator starts it again.

use image::config::Supervision;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pause before the first start after a failure; doubled with each failure in a row up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A worker that ran this long has no failures behind it: that it dies often is for rapid-fail protection to judge.
const FORGIVEN_AFTER: Duration = Duration::from_secs(1);

/// Names a worker; never used for another one.
pub type WorkerId = u64;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Requests wait and no worker can take them.
    Demand,
    /// A worker answered for the first time.
    Answered(WorkerId),
    /// A worker answered a ping and takes so many bytes of memory.
    Pong(WorkerId, u64),
    /// A worker ended, or could not be started.
    Ended(WorkerId),
    /// What a worker has done: requests since its start, and for how long it has had none.
    Usage(WorkerId, u64, Duration),
    /// Replace all workers.
    Recycle,
    /// Out of service: workers finish what they have and end.
    Stop,
    /// Into service.
    Start,
    /// Nothing is started any more; workers finish what they have and end. The pool stays in service for the next supervisor.
    Leave,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a worker at this place of the pool's list.
    Start(WorkerId, usize),
    /// Tell the appliance of it.
    Announce(WorkerId),
    /// Ask whether it is well.
    Ping(WorkerId),
    /// Tell the appliance to give it nothing new, let it finish, and end it.
    Retire(WorkerId, Why),
    /// End it now.
    Kill(WorkerId, Why),
    /// Leave it to a debugger.
    Orphan(WorkerId),
    /// The pool takes requests.
    Open,
    /// The pool refuses requests: rapid-fail protection has tripped, or an administrator said so.
    Close(Why),
}

/// Why a worker ends, or a pool goes out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It did not answer within the start limit.
    StartLimit,
    /// It answered no ping within the ping limit.
    PingLimit,
    /// Recycled: too old.
    Age,
    /// Recycled: too many requests.
    Requests,
    /// Recycled: too much memory.
    Memory,
    /// It had nothing to do.
    Idle,
    /// An administrator's order.
    Order,
    /// Too many failures in a short time.
    RapidFail,
    /// It did not finish within the stop limit.
    StopLimit,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StartLimit => "did not answer within its start limit",
            Self::PingLimit => "answered no ping within its limit",
            Self::Age => "is too old",
            Self::Requests => "has answered its number of requests",
            Self::Memory => "takes too much memory",
            Self::Idle => "had nothing to do",
            Self::Order => "by order",
            Self::RapidFail => "too many failures in a short time",
            Self::StopLimit => "did not finish within its stop limit",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    /// Finishes what it has.
    Leaving,
    /// Ordered to end; its end is awaited.
    Ending,
}

#[derive(Clone, Debug)]
struct Worker {
    id: WorkerId,
    place: usize,
    state: State,
    /// When it entered its state.
    since: Instant,
    /// The last answer to a ping, and when the next one is due.
    heard: Instant,
    ping_at: Instant,
    /// The worker that leaves when this one answers, and why.
    replaces: Option<(WorkerId, Why)>,
}

/// A pool's workers as the supervisor decides about them.
#[derive(Clone, Debug)]
pub struct PoolState {
    policy: Supervision,
    /// How many workers each place of the pool's list may have.
    places: Vec<u32>,
    workers: Vec<Worker>,
    next_id: WorkerId,
    actions: VecDeque<Action>,
    failures: VecDeque<Instant>,
    /// Failures in a row, and when the next start may be.
    in_a_row: u32,
    start_at: Option<Instant>,
    demanded: bool,
    in_service: bool,
    /// The supervisor ends.
    leaving: bool,
}

impl PoolState {
    /// A pool in service, its minimum of workers to be started at once. `places` says how many workers each entry of its
    /// list may have.
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
            leaving: false,
        };
        pool.settle(now);
        pool
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether requests are taken.
    pub fn in_service(&self) -> bool {
        self.in_service
    }

    /// Workers that answer, those that leave included.
    pub fn running(&self) -> usize {
        self.workers.iter().filter(|w| matches!(w.state, State::Running | State::Leaving)).count()
    }

    /// Whether as many workers answer as are kept running, or the pool has given up.
    pub fn is_settled(&self) -> bool {
        let running = self.workers.iter().filter(|w| w.state == State::Running).count();
        !self.in_service || running >= self.policy.min_workers as usize
    }

    /// When [`PoolState::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let of = |w: &Worker| match w.state {
            State::Starting => Some(w.since + self.policy.start_limit),
            State::Running => {
                // Nothing is due that has to wait for another worker or a pause first.
                let may_start = self.may_start() && self.start_at.is_none() && !self.is_replaced(w.id);
                let age = self.policy.recycle.age.filter(|_| may_start).map(|age| w.since + age);
                [Some(w.ping_at), Some(w.heard + self.policy.ping_limit), age].into_iter().flatten().min()
            }
            State::Leaving => Some(w.since + self.policy.stop_limit),
            State::Ending => None,
        };
        self.workers.iter().filter_map(of).chain(self.start_at).min()
    }

    /// Takes note of an event. One about a worker that is gone changes nothing.
    pub fn on(&mut self, event: Event, now: Instant) {
        match event {
            // What cannot be met now is said again once a worker has gone.
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
            Event::Stop => self.close(Why::Order, now),
            Event::Start => {
                if !self.in_service {
                    self.in_service = true;
                    self.actions.push_back(Action::Open);
                }
                self.failures.clear();
                (self.in_a_row, self.start_at) = (0, None);
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
                State::Running if now.saturating_duration_since(worker.heard) >= policy.ping_limit => {
                    self.fail(id, Why::PingLimit, now);
                }
                State::Running => {
                    let old = policy.recycle.age.is_some_and(|age| ran >= age);
                    if worker.ping_at <= now {
                        self.workers[index].ping_at = now + self.policy.ping_interval;
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
        self.settle(now);
    }

    fn may_start(&self) -> bool {
        self.in_service && !self.leaving
    }

    fn find(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|w| w.id == id)
    }

    /// Workers that are here to stay, or will be; successors of others not counted.
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
        let ping_at = now + self.policy.ping_interval;
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

    /// A worker that does not do what it should.
    fn fail(&mut self, id: WorkerId, why: Why, now: Instant) {
        self.set(id, State::Ending, now);
        let orphan = why == Why::PingLimit && self.policy.orphan.is_some();
        self.actions.push_back(if orphan { Action::Orphan(id) } else { Action::Kill(id, why) });
        self.failed(now);
    }

    fn failed(&mut self, now: Instant) {
        self.in_a_row += 1;
        let doublings = (self.in_a_row - 1).min(16);
        self.start_at = Some(now + (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE));
        let Some((limit, within)) = self.policy.rapid_fail else { return };
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|at| now.saturating_duration_since(*at) > within) {
            self.failures.pop_front();
        }
        if self.failures.len() >= limit as usize {
            self.close(Why::RapidFail, now);
        }
    }

    fn close(&mut self, why: Why, now: Instant) {
        if !std::mem::replace(&mut self.in_service, false) {
            return;
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

    /// Starts a successor, unless there is one on its way.
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

    /// Starts what is missing.
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
