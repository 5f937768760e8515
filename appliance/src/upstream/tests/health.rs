//! Effects of failed requests on the worker that had them, and on others.

use super::*;
use model::id::PoolId;
use model::pool::{NOTE_MAX, PoolState};
use std::format;

const TUNNEL: u32 = 1000;

fn fingerprint(client: u32, path: &str) -> Fingerprint {
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.{client}\r\n\r\n");
    Fingerprint::of(PoolId(0), head.as_bytes())
}

/// A bench whose workers take `links` requests at a time.
fn bench(workers: u32, links: usize) -> Bench {
    Bench::new(workers, PoolLimits { links_per_worker: links, ..PoolLimits::default() })
}

impl Bench {
    /// Submits a request and connects its link.
    fn link(&mut self, requester: u32) -> LinkId {
        self.submit(requester).expect("there is room in the queue");
        self.connect_all();
        let (who, link) = self.assigned();
        assert_eq!(who, requester);
        link
    }

    fn worker_of(&self, link: LinkId) -> usize {
        self.pools.links.get(link).expect("it is there").worker
    }

    /// Fails requests until this worker has failed these.
    fn fail_at(&mut self, worker: usize, what: &[Fingerprint]) {
        for fingerprint in what {
            let (link, spared) = self.link_to(worker);
            self.pools.fail(link, fingerprint, self.now);
            spared.into_iter().for_each(|link| self.pools.abandon(link, self.now));
        }
    }

    /// A link to this worker, and those assigned to others meanwhile.
    fn link_to(&mut self, worker: usize) -> (LinkId, Vec<LinkId>) {
        let mut spared = Vec::new();
        for _ in 0..4 {
            let link = self.link(7);
            if self.worker_of(link) == worker {
                return (link, spared);
            }
            spared.push(link);
        }
        panic!("worker {worker} is assigned_at nothing")
    }
}

fn different() -> Vec<Fingerprint> {
    (0..5).map(|n| fingerprint(n, "/bad")).collect()
}

#[test]
fn bad_requests_and_an_open_tunnel_do_not_take_the_last_worker_away() {
    let mut bench = bench(1, 64);
    let tunnel = bench.link(TUNNEL);
    for n in 0..50 {
        let link = bench.link(7);
        bench.pools.fail(link, &fingerprint(n, &format!("/bad/{n}")), bench.now);
        let good = bench.link(8);
        bench.pools.abandon(good, bench.now);
    }
    assert_eq!(bench.pools.status(PoolId(0)).state, PoolState::Running);
    bench.pools.finish(tunnel, false, bench.now);
}

#[test]
fn one_failing_request_does_not_make_a_suspect() {
    for same in [fingerprint(1, "/bad"), fingerprint(1, "/bad?x")] {
        let mut bench = bench(2, 64);
        bench.fail_at(0, &[same; 30]);
        assert_eq!(bench.pools.status(PoolId(0)).healthy, 2);
    }
}

#[test]
fn a_suspect_is_avoided_and_probed_while_it_has_requests() {
    let mut bench = bench(2, 64);
    let (tunnel, others) = bench.link_to(0);
    others.into_iter().for_each(|link| bench.pools.abandon(link, bench.now));
    bench.fail_at(0, &different());
    assert_eq!(bench.pools.status(PoolId(0)).healthy, 1);
    let links: Vec<_> = (0..4).map(|n| bench.link(n)).collect();
    assert!(links.iter().all(|link| bench.worker_of(*link) == 1), "the other is preferred, however busy");
    links.into_iter().for_each(|link| bench.pools.finish(link, true, bench.now));
    bench.later(Duration::from_millis(60));
    let first = bench.link(8);
    assert_eq!(bench.worker_of(first), 1, "no request waits for a link to it");
    bench.later(Duration::from_millis(110));
    let (probe, next) = (bench.link(9), bench.link(10));
    assert_eq!((bench.worker_of(probe), bench.worker_of(next)), (0, 1), "one at a time");
    bench.pools.finish(probe, true, bench.now);
    assert_eq!(bench.pools.status(PoolId(0)).healthy, 2, "it has answered");
    [first, next, tunnel].into_iter().for_each(|link| bench.pools.abandon(link, bench.now));
}

#[test]
fn a_suspect_serves_while_no_other_has_room() {
    let mut bench = bench(2, 1);
    bench.fail_at(0, &different());
    let busy = bench.link(1);
    assert_eq!(bench.worker_of(busy), 1);
    let second = bench.link(2);
    assert_eq!(bench.worker_of(second), 0, "at once, and not after its rest");
}

#[test]
fn half_of_all_requests_failing_makes_a_suspect() {
    let mut bench = bench(2, 64);
    for n in 0..16 {
        assert_eq!(bench.pools.status(PoolId(0)).healthy, 2, "after {n}");
        bench.fail_at(0, &[fingerprint(n, "/bad")]);
        if n < 15 {
            let (good, others) = bench.link_to(0);
            bench.pools.finish(good, true, bench.now);
            others.into_iter().for_each(|link| bench.pools.abandon(link, bench.now));
        }
    }
    assert_eq!(bench.pools.status(PoolId(0)).healthy, 1);
}

#[test]
fn a_worker_reported_down_gets_no_requests() {
    let mut bench = bench(1, 64);
    let at = VsockAddr { cid: 2, port: 10_000 };
    let note = "é".repeat(NOTE_MAX);
    assert!(bench.pools.report_worker(PoolId(0), at, true, note, bench.now));
    let status: Vec<_> = bench.pools.workers(PoolId(0)).collect();
    assert!(status[0].down && !status[0].healthy && status[0].note.len() == NOTE_MAX);
    assert_eq!(bench.pools.status(PoolId(0)).state, PoolState::Initialized);
    bench.submit(1).expect("it waits");
    assert!(bench.pools.next_demand(bench.now).is_some(), "another worker could take it");
    bench.connect_all();
    assert_eq!(bench.event(), None);
    assert!(bench.pools.report_worker(PoolId(0), at, false, String::new(), bench.now));
    bench.connect_all();
    assert_eq!(bench.assigned().0, 1);
    assert!(!bench.pools.report_worker(
        PoolId(0),
        VsockAddr { cid: 2, port: 1 },
        true,
        String::new(),
        bench.now
    ));
}

#[test]
fn a_request_that_killed_two_workers_is_refused() {
    let kill = fingerprint(1, "/kill");
    for told_before_the_link_ends in [false, true] {
        let mut bench = bench(0, 64);
        for port in [20_000, 20_001] {
            assert!(!bench.pools.is_fatal(&kill, bench.now));
            let at = VsockAddr { cid: 2, port };
            bench.pools.add_worker(PoolId(0), at, false, bench.now);
            let (link, beside) = (bench.link(1), bench.link(2));
            bench.later(Duration::from_millis(1));
            if told_before_the_link_ends {
                bench.pools.remove_worker(PoolId(0), at, true, bench.now);
            }
            bench.pools.fail(link, &kill, bench.now);
            bench.pools.fail(beside, &fingerprint(2, &format!("/{port}")), bench.now);
            if !told_before_the_link_ends {
                bench.pools.remove_worker(PoolId(0), at, true, bench.now);
            }
            while bench.event().is_some() {}
        }
        assert!(bench.pools.is_fatal(&kill, bench.now));
        assert!(!bench.pools.is_fatal(&fingerprint(2, "/20000"), bench.now));
        assert_eq!(bench.pools.counters().fatal_targets, 1);
    }
}

#[test]
fn stopped_workers_incriminate_no_request() {
    let mut bench = bench(0, 64);
    for port in 20_000..20_004 {
        let at = VsockAddr { cid: 2, port };
        bench.pools.add_worker(PoolId(0), at, false, bench.now);
        let link = bench.link(1);
        bench.pools.remove_worker(PoolId(0), at, false, bench.now);
        bench.pools.fail(link, &fingerprint(1, "/long"), bench.now);
        while bench.event().is_some() {}
        bench.later(Duration::from_millis(1));
    }
    assert!(!bench.pools.suspects_targets());
}
