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
//! (recycling) leaves only when its successor answers. After failures in a row the next start waits, each time four times
//! as long. Failures in quick succession take the pool out of service (rapid-fail protection); after a pause, which is longer
//! each time, it is tried again, and one failure is enough to end that. An administrator may start it sooner, and
//! without `rapid_fail.recover` nobody else does.

pub use super::why::Why;
use image::config::Supervision;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pause before the first start after a failure; four times as long with each failure in a row up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long rapid-fail protection keeps a pool out of service at first; doubled each time up to [`LONGEST_OUTAGE`].
const FIRST_OUTAGE: Duration = Duration::from_secs(10);
const LONGEST_OUTAGE: Duration = Duration::from_secs(600);
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
    /// What is known of its health has changed; for people, nothing follows from it.
    Ill(WorkerId),
    /// It has sent something at this time, although it has not answered the last ping yet.
    Heard(WorkerId, Instant),
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
    /// The pool was found out of service because of failures under an earlier supervisor.
    FoundFailed,
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
    /// When a pool that failed is tried again.
    opens_at: Option<Instant>,
    /// When that was last done, and how often in a row it came to nothing.
    opened_at: Option<Instant>,
    outages: u32,
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
            opens_at: None,
            opened_at: None,
            outages: 0,
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

    /// When a pool that failed is tried again; `None`: not by itself.
    pub fn opens_at(&self) -> Option<Instant> {
        self.opens_at
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
                [Some(w.ping_at), Some(w.heard + self.policy.ping.limit), age].into_iter().flatten().min()
            }
            State::Leaving => Some(w.since + self.policy.stop_limit),
            State::Ending => None,
        };
        self.workers.iter().filter_map(of).chain(self.start_at).chain(self.opens_at).min()
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
            Event::Heard(id, at) => {
                if let Some(worker) = self.find(id) {
                    worker.heard = worker.heard.max(at);
                }
            }
            Event::Ill(_) => {}
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
                    // It was out of service already, but not by order.
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
            // One more is enough.
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

    /// A worker that does not do what it should.
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

    /// How many failures count for rapid-fail protection now.
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
