//! The states of a supervised worker and what leads from one to the next.
//!
//! ```text
//!            started           answered
//! Stopped ───────────▶ Starting ───────▶ Running
//!    ▲                    │ ended,          │ ended
//!    │                    │ start limit     │
//!    └──── back-off ◀─────┴─────────────────┘
//! ```

use std::time::{Duration, Instant};

/// How a worker is started and started again.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// A worker that has not answered by then is stopped and counts as failed.
    pub start_limit: Duration,
    /// Pause before the first restart; it doubles with each failure in a row.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// A worker that ran this long has no failures behind it.
    pub forgiven_after: Duration,
    /// Failures in a row, without ever having answered, after which it is given up.
    pub first_start_attempts: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            start_limit: Duration::from_secs(20),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(10),
            forgiven_after: Duration::from_secs(30),
            first_start_attempts: 3,
        }
    }
}

/// Where a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not there; to be started at this time.
    Stopped(Instant),
    /// Started at this time, has not answered yet.
    Starting(Instant),
    /// Answers since this time.
    Running(Instant),
    /// Given up.
    Failed,
}

/// What happened to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It answered.
    Answered,
    /// It ended, or could not even be started.
    Ended,
    /// The time of [`Lifecycle::deadline`] has come.
    Deadline,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Start it.
    Start,
    /// Make sure it is gone, and its streams with it.
    Stop,
    /// Let the relay use it.
    Announce,
    /// Tell the user that it will not come.
    GiveUp,
}

/// One worker's state.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    policy: Policy,
    state: State,
    failures: u32,
    has_answered: bool,
}

impl Lifecycle {
    /// A worker to be started at once.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self { policy, state: State::Stopped(now), failures: 0, has_answered: false }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Event::Deadline`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Stopped(at) => Some(at),
            State::Starting(since) => Some(since + self.policy.start_limit),
            State::Running(_) | State::Failed => None,
        }
    }

    /// Takes note of an event. One that does not fit the state changes nothing.
    pub fn on(&mut self, event: Event, now: Instant) -> Action {
        match (self.state, event) {
            (State::Stopped(at), Event::Deadline) if at <= now => {
                self.state = State::Starting(now);
                Action::Start
            }
            (State::Starting(_), Event::Answered) => {
                self.state = State::Running(now);
                self.has_answered = true;
                Action::Announce
            }
            (State::Starting(since), Event::Deadline) if since + self.policy.start_limit <= now => {
                self.failed(now)
            }
            (State::Starting(_), Event::Ended) => self.failed(now),
            (State::Running(since), Event::Ended) => {
                if now.duration_since(since) >= self.policy.forgiven_after {
                    self.failures = 0;
                }
                self.failed(now)
            }
            _ => Action::None,
        }
    }

    fn failed(&mut self, now: Instant) -> Action {
        self.failures += 1;
        if !self.has_answered && self.failures >= self.policy.first_start_attempts {
            self.state = State::Failed;
            return Action::GiveUp;
        }
        let doublings = (self.failures - 1).min(16);
        let pause = (self.policy.first_pause * (1 << doublings)).min(self.policy.longest_pause);
        self.state = State::Stopped(now + pause);
        Action::Stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(now: Instant) -> Lifecycle {
        let mut worker = Lifecycle::new(Policy::default(), now);
        assert_eq!(worker.on(Event::Deadline, now), Action::Start);
        assert_eq!(worker.on(Event::Answered, now), Action::Announce);
        worker
    }

    #[test]
    fn a_worker_that_dies_is_started_again_after_a_growing_pause() {
        let mut now = Instant::now();
        let mut worker = running(now);
        for pause in [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            assert_eq!(worker.on(Event::Ended, now), Action::Stop);
            assert_eq!(worker.deadline(), Some(now + Duration::from_millis(pause)));
            assert_eq!(worker.on(Event::Deadline, now), Action::None, "too early");
            now += Duration::from_millis(pause);
            assert_eq!(worker.on(Event::Deadline, now), Action::Start);
            assert_eq!(worker.on(Event::Answered, now), Action::Announce);
        }
        now += Duration::from_secs(30);
        worker.on(Event::Ended, now);
        assert_eq!(worker.deadline(), Some(now + Duration::from_millis(50)), "a long run is forgiven");
    }

    #[test]
    fn a_worker_that_never_answers_is_given_up() {
        let mut now = Instant::now();
        let mut worker = Lifecycle::new(Policy::default(), now);
        for attempt in 1..=3 {
            now = worker.deadline().unwrap_or(now);
            assert_eq!(worker.on(Event::Deadline, now), Action::Start);
            assert_eq!(worker.on(Event::Deadline, now + Duration::from_secs(1)), Action::None);
            now += Duration::from_secs(20);
            let expected = if attempt == 3 { Action::GiveUp } else { Action::Stop };
            assert_eq!(worker.on(Event::Deadline, now), expected);
        }
        assert_eq!((worker.state(), worker.deadline()), (State::Failed, None));
    }

    #[test]
    fn events_out_of_place_change_nothing() {
        let now = Instant::now();
        let mut worker = running(now);
        for event in [Event::Answered, Event::Deadline] {
            assert_eq!(worker.on(event, now), Action::None);
            assert_eq!(worker.state(), State::Running(now));
        }
    }
}
