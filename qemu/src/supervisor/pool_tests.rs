use super::*;
use image::config::Recycle;

const SECOND: Duration = Duration::from_secs(1);

/// A pool with virtual time. The test decides what workers do.
struct Bench {
    pool: PoolState,
    now: Instant,
}

fn policy() -> Supervision {
    Supervision {
        max_workers: 2,
        recycle: Recycle { age: None, requests: None, memory: None },
        ..Supervision::default()
    }
}

impl Bench {
    fn new(policy: Supervision) -> Self {
        let now = Instant::now();
        Self { pool: PoolState::new(policy, vec![1, 3], now), now }
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.pool.on(event, self.now);
        self.actions()
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.pool.next_action()).collect()
    }

    /// Advances time, deadline by deadline, and responds to every ping.
    fn pass(&mut self, time: Duration) -> Vec<Action> {
        let (end, mut all) = (self.now + time, Vec::new());
        let mut turns = 0;
        while let Some(at) = self.pool.deadline().filter(|at| *at <= end) {
            turns += 1;
            assert!(turns < 10_000, "a deadline that does not go away");
            self.now = self.now.max(at);
            self.pool.tick(self.now);
            for action in self.actions() {
                match action {
                    Action::Ping(id) => self.pool.on(Event::Pong(id, 1000), self.now),
                    other => all.push(other),
                }
            }
        }
        self.now = end;
        all
    }

    /// A pool with one running worker, number 1.
    fn running(policy: Supervision) -> Self {
        let mut bench = Self::new(policy);
        if bench.actions().is_empty() {
            assert_eq!(bench.on(Event::Demand), [Action::Start(1, 0)]);
        }
        assert_eq!(bench.on(Event::Answered(1)), [Action::Announce(1)]);
        bench
    }
}

#[test]
fn nothing_is_started_before_somebody_asks() {
    let mut bench = Bench::new(policy());
    assert_eq!(bench.actions(), []);
    assert!(bench.pool.is_settled() && bench.pool.deadline().is_none());
    assert_eq!(bench.on(Event::Demand), [Action::Start(1, 0)]);
    assert_eq!(bench.on(Event::Demand), [], "it is on its way");
    assert_eq!(bench.on(Event::Answered(1)), [Action::Announce(1)]);
    assert_eq!(bench.on(Event::Answered(1)), [], "only the first time");
    assert_eq!(bench.on(Event::Demand), [Action::Start(2, 1)], "at the next place");
    bench.on(Event::Answered(2));
    assert_eq!(bench.on(Event::Demand), [], "no more than the maximum");
    assert_eq!(bench.pass(3600 * SECOND), []);
}

#[test]
fn the_minimum_is_kept() {
    let mut bench = Bench::new(Supervision { min_workers: 2, ..policy() });
    assert_eq!(bench.actions(), [Action::Start(1, 0), Action::Start(2, 1)]);
    assert!(!bench.pool.is_settled());
    bench.on(Event::Answered(1));
    bench.on(Event::Answered(2));
    assert!(bench.pool.is_settled());
    assert_eq!(bench.on(Event::Ended(1)), []);
    assert_eq!(bench.pass(50 * SECOND / 1000), [Action::Start(3, 0)], "after a pause, at the free place");
}

#[test]
fn a_worker_that_does_not_start_is_tried_again_ever_more_slowly() {
    let mut bench = Bench::new(Supervision { rapid_fail: None, ..policy() });
    bench.on(Event::Demand);
    let mut pause = Duration::from_millis(50);
    for id in 1..12 {
        assert_eq!(bench.on(Event::Ended(id)), []);
        assert_eq!(bench.pass(pause - SECOND / 1000), []);
        assert_eq!(bench.pass(SECOND / 1000), [Action::Start(id + 1, 0)]);
        pause = (pause * 4).min(Duration::from_secs(10));
    }
}

#[test]
fn start_and_ping_limits() {
    let mut bench = Bench::new(policy());
    bench.on(Event::Demand);
    let acts = bench.pass(90 * SECOND);
    assert_eq!(acts, [Action::Kill(1, Why::StartLimit)]);
    assert_eq!(bench.on(Event::Ended(1)), []);
    assert_eq!(bench.pass(SECOND), [Action::Start(2, 0)]);
    bench.on(Event::Answered(2));
    let mut pings = 0;
    let start = bench.now;
    loop {
        bench.now = bench.pool.deadline().expect("pings go on");
        bench.pool.tick(bench.now);
        match bench.actions()[..] {
            [Action::Ping(2)] => pings += 1,
            [Action::Kill(2, Why::PingLimit), ..] => break,
            ref other => panic!("{other:?}"),
        }
    }
    assert_eq!((pings, bench.now - start), (2, 90 * SECOND));
}

#[test]
fn what_hangs_may_be_left_to_a_debugger() {
    let mut bench = Bench::running(Supervision { orphan: Some(vec!["gdb".into()]), ..policy() });
    bench.now += 90 * SECOND;
    bench.pool.tick(bench.now);
    assert_eq!(bench.actions(), [Action::Orphan(1)]);
}

#[test]
fn rapid_failures_take_the_pool_out_of_service() {
    let mut bench = Bench::running(Supervision { recover: false, ..policy() });
    for id in 1..5 {
        bench.on(Event::Ended(id));
        bench.pass(20 * SECOND);
        bench.on(Event::Demand);
        bench.on(Event::Answered(id + 1));
    }
    assert_eq!(bench.on(Event::Ended(5)), [Action::Close(Why::RapidFail)]);
    assert!(!bench.pool.in_service() && bench.pool.is_settled());
    assert_eq!((bench.on(Event::Demand), bench.pass(3600 * SECOND)), (vec![], vec![]));
    assert_eq!(bench.on(Event::Start), [Action::Open]);
    assert_eq!(bench.on(Event::Demand), [Action::Start(6, 0)]);
}

#[test]
fn slow_failures_do_not() {
    let mut bench = Bench::running(policy());
    for id in 1..50 {
        assert_eq!(bench.on(Event::Ended(id)), []);
        bench.pass(76 * SECOND);
        assert_eq!(bench.on(Event::Demand), [Action::Start(id + 1, 0)]);
        bench.on(Event::Answered(id + 1));
    }
    assert!(bench.pool.in_service());
}

#[test]
fn recycling_overlaps() {
    let recycle = Recycle { age: Some(3600 * SECOND), requests: Some(100), memory: Some(1 << 20) };
    for n in 0..4 {
        let mut bench = Bench::running(Supervision { recycle, idle_stop: None, ..policy() });
        let (why, acts) = match n {
            0 => (Why::Age, bench.pass(3600 * SECOND)),
            1 => (Why::Requests, bench.on(Event::Usage(1, 100, Duration::ZERO))),
            2 => (Why::Memory, bench.on(Event::Pong(1, (1 << 20) + 1))),
            _ => (Why::Order, bench.on(Event::Recycle)),
        };
        assert_eq!(acts, [Action::Start(2, 0)], "the old one serves on");
        assert_eq!(bench.on(Event::Recycle), [], "its successor is on its way");
        assert_eq!(bench.on(Event::Answered(2)), [Action::Announce(2), Action::Retire(1, why)]);
        assert_eq!(bench.pass(89 * SECOND), []);
        assert_eq!(bench.pass(SECOND), [Action::Kill(1, Why::StopLimit)]);
        assert_eq!(bench.on(Event::Ended(1)), []);
        assert!(bench.pool.in_service() && bench.pool.running() == 1);
    }
}

#[test]
fn a_successor_that_fails_leaves_the_old_one_in_place() {
    let recycle = Recycle { age: Some(3600 * SECOND), requests: None, memory: None };
    let mut bench = Bench::running(Supervision { recycle, idle_stop: None, ..policy() });
    assert_eq!(bench.pass(3600 * SECOND), [Action::Start(2, 0)]);
    assert_eq!(bench.on(Event::Ended(2)), []);
    assert_eq!(bench.pass(SECOND), [Action::Start(3, 0)], "tried again");
    assert_eq!(bench.on(Event::Answered(3)), [Action::Announce(3), Action::Retire(1, Why::Age)]);
}

#[test]
fn what_has_nothing_to_do_is_stopped_down_to_the_minimum() {
    let mut bench = Bench::running(policy());
    assert_eq!(bench.on(Event::Usage(1, 5, 1199 * SECOND)), []);
    assert_eq!(bench.on(Event::Usage(1, 5, 1200 * SECOND)), [Action::Retire(1, Why::Idle)]);
    assert_eq!(bench.on(Event::Ended(1)), []);
    assert_eq!(bench.pass(3600 * SECOND), [], "until somebody asks again");
    assert_eq!(bench.on(Event::Demand), [Action::Start(2, 0)]);
    let mut bench = Bench::running(Supervision { min_workers: 1, ..policy() });
    assert_eq!(bench.on(Event::Usage(1, 5, 9000 * SECOND)), []);
}

#[test]
fn orders_stop_and_start_a_pool() {
    let mut bench = Bench::running(Supervision { min_workers: 1, ..policy() });
    assert_eq!(bench.on(Event::Stop), [Action::Close(Why::Order), Action::Retire(1, Why::Order)]);
    assert_eq!(bench.on(Event::Stop), []);
    assert_eq!(bench.on(Event::Ended(1)), []);
    assert_eq!(bench.pass(3600 * SECOND), []);
    assert_eq!(bench.on(Event::Start), [Action::Open, Action::Start(2, 0)]);
}

#[test]
fn news_of_the_gone_change_nothing() {
    let mut bench = Bench::running(policy());
    for event in [
        Event::Answered(9),
        Event::Pong(9, u64::MAX),
        Event::Ended(9),
        Event::Usage(9, u64::MAX, 10_000 * SECOND),
    ] {
        assert_eq!(bench.on(event), []);
    }
    assert_eq!(bench.pool.running(), 1);
}

#[test]
fn a_supervisor_that_ends_leaves_its_pools_in_service() {
    let mut bench = Bench::running(Supervision { min_workers: 1, ..policy() });
    bench.on(Event::Recycle);
    let actions = bench.on(Event::Leave);
    assert_eq!(actions, [Action::Retire(1, Why::Order), Action::Kill(2, Why::Order)]);
    assert_eq!(bench.on(Event::Demand), [], "the next supervisor is asked again");
    assert_eq!((bench.on(Event::Ended(2)), bench.on(Event::Ended(1))), (vec![], vec![]));
    assert!(bench.pool.in_service());
    assert_eq!(bench.pass(3600 * SECOND), []);
}

/// Lets workers end as soon as they are started, until no more are started.
fn fail_until_closed(bench: &mut Bench, mut id: WorkerId) -> (WorkerId, Duration) {
    let start = bench.now;
    loop {
        assert!(bench.now - start < 60 * SECOND, "it is never closed");
        let actions = bench.on(Event::Ended(id));
        if actions.contains(&Action::Close(Why::RapidFail)) {
            return (id, bench.now - start);
        }
        let at = bench.pool.deadline().expect("another start");
        bench.now = at;
        bench.pool.tick(at);
        assert_eq!(bench.actions(), [Action::Start(id + 1, 0)]);
        id += 1;
    }
}

#[test]
fn five_failures_take_their_time_and_the_pool_is_tried_again_after_pauses_that_grow() {
    let mut bench = Bench::new(Supervision { min_workers: 1, ..policy() });
    assert_eq!(bench.actions(), [Action::Start(1, 0)]);
    let (mut id, took) = fail_until_closed(&mut bench, 1);
    assert!(id == 5 && took > 4 * SECOND, "{id} failures in {took:?}");
    for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
        assert!(!bench.pool.in_service());
        assert_eq!(bench.pool.opens_at(), Some(bench.now + pause * SECOND));
        assert_eq!(bench.pass(pause * SECOND - SECOND), []);
        id += 1;
        assert_eq!(bench.pass(SECOND), [Action::Open, Action::Start(id, 0)]);
        assert_eq!(bench.on(Event::Ended(id)), [Action::Close(Why::RapidFail)], "one is enough now");
    }
    bench.pass(600 * SECOND);
    bench.on(Event::Answered(id + 1));
    bench.pass(301 * SECOND);
    assert_eq!(bench.on(Event::Ended(id + 1)), [], "it did well for longer than the interval");
    bench.pass(SECOND);
    fail_until_closed(&mut bench, id + 2);
    assert_eq!(bench.pool.opens_at(), Some(bench.now + 10 * SECOND), "as the first time");
    assert_eq!(bench.on(Event::Stop), [Action::Close(Why::Order)], "an order is an order");
    assert_eq!((bench.pool.opens_at(), bench.pass(3600 * SECOND)), (None, vec![]));
}

#[test]
fn a_pool_that_was_found_failed_is_tried_again() {
    let mut bench = Bench::new(policy());
    assert_eq!(bench.on(Event::FoundFailed), []);
    assert!(!bench.pool.in_service());
    assert_eq!(bench.pass(10 * SECOND), [Action::Open]);
    let mut bench = Bench::new(Supervision { recover: false, ..policy() });
    bench.on(Event::FoundFailed);
    assert_eq!(bench.pass(3600 * SECOND), []);
}

#[test]
fn one_that_sends_something_is_not_killed_for_a_ping_that_it_has_no_time_for() {
    let mut bench = Bench::running(policy());
    for _ in 0..10 {
        bench.now += 60 * SECOND;
        bench.on(Event::Heard(1, bench.now));
        bench.pool.tick(bench.now);
        assert_eq!(bench.actions(), [Action::Ping(1)]);
    }
    bench.now += 90 * SECOND;
    bench.pool.tick(bench.now);
    assert!(bench.actions().contains(&Action::Kill(1, Why::PingLimit)));
}
