use super::*;
use alloc::collections::BTreeMap;
use model::id::PoolId;
use netdrv::stream::{ConnectError, StreamId, VsockAddr};

mod health;
mod verdicts;

/// A transport scripted by the test.
#[derive(Default)]
struct Script {
    events: VecDeque<StreamEvent>,
    open: BTreeMap<StreamId, (VsockAddr, Vec<u8>)>,
    opened: u32,
    full: bool,
    /// Whether bytes count as sent before the worker had read anything.
    early: bool,
    sent: BTreeMap<StreamId, Vec<u8>>,
}

impl StreamTransport for Script {
    fn poll(&mut self, _: u64) {}

    fn next_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn next_deadline(&self) -> Option<u64> {
        None
    }

    fn connect(&mut self, peer: VsockAddr, _: u64) -> Result<StreamId, ConnectError> {
        if self.full {
            return Err(ConnectError::TooManyStreams);
        }
        let slot = (0..).find(|slot| self.open.keys().all(|id| id.slot != *slot)).unwrap();
        self.opened += 1;
        let id = StreamId { slot, generation: self.opened };
        self.open.insert(id, (peer, Vec::new()));
        Ok(id)
    }

    fn listen(&mut self, _: u32) {}

    fn readable(&self, stream: StreamId) -> &[u8] {
        self.open.get(&stream).map_or(&[], |(_, bytes)| bytes)
    }

    fn consume(&mut self, stream: StreamId, n: usize) {
        if let Some((_, bytes)) = self.open.get_mut(&stream) {
            bytes.drain(..n);
        }
    }

    fn send_room(&self, _: StreamId) -> usize {
        1000
    }

    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize {
        self.sent.entry(stream).or_default().extend(data);
        data.len()
    }

    fn spoke_early(&self, _: StreamId) -> bool {
        self.early
    }

    fn release(&mut self, stream: StreamId) {
        assert!(self.open.remove(&stream).is_some(), "released twice or never opened");
    }

    fn flush(&mut self) {}

    fn arm(&mut self) -> bool {
        true
    }
}

struct Bench {
    pools: Pools<Script>,
    now: Instant,
}

/// The request with this number.
const fn who(number: u32) -> ExchangeId {
    ExchangeId { connection: ConnId::numbered(0), stream: number }
}

impl Bench {
    fn new(workers: u32, limits: PoolLimits) -> Self {
        let workers = (0..workers).map(|n| settings::Worker { cid: 2, port: 10_000 + n }).collect();
        let settings = [settings::Pool { name: "app".into(), workers, ..Default::default() }];
        Self { pools: Pools::new(&settings, limits, Script::default(), Instant::ZERO), now: Instant::ZERO }
    }

    fn submit(&mut self, requester: u32) -> Result<(), Reason> {
        self.pools.submit(PoolId(0), who(requester), self.now)
    }

    /// Connects all streams that are being connected.
    fn connect_all(&mut self) {
        let connecting: Vec<StreamId> = self
            .pools
            .links
            .iter()
            .filter(|(_, link)| link.state == LinkState::Connecting)
            .map(|(_, link)| link.stream)
            .collect();
        self.pools.streams.transport.events.extend(connecting.into_iter().map(StreamEvent::Connected));
        self.pools.poll(self.now);
        self.turn();
    }

    /// Runs the turn of the transport in which idle links prove to be clean.
    fn turn(&mut self) {
        self.pools.poll(self.now);
    }

    fn event(&mut self) -> Option<PoolEvent> {
        self.pools.next_event()
    }

    fn assigned(&mut self) -> (u32, LinkId) {
        match self.event() {
            Some(PoolEvent::Assigned(requester, link)) => (requester.stream, link),
            other => panic!("{other:?}"),
        }
    }

    fn stream(&self, link: LinkId) -> StreamId {
        self.pools.links.get(link).unwrap().stream
    }

    fn port(&self, link: LinkId) -> u32 {
        self.pools.streams.transport.open[&self.stream(link)].0.port
    }

    /// Has the worker send bytes.
    fn say(&mut self, link: LinkId, bytes: &[u8]) {
        let stream = self.stream(link);
        let transport = &mut self.pools.streams.transport;
        transport.open.get_mut(&stream).unwrap().1.extend(bytes);
        transport.events.push_back(StreamEvent::Readable(stream));
    }

    fn close(&mut self, stream: StreamId, reason: CloseReason) {
        self.pools.streams.transport.events.push_back(StreamEvent::Closed(stream, reason));
        self.pools.poll(self.now);
    }

    fn later(&mut self, time: Duration) {
        self.now = self.now + time;
        self.pools.poll(self.now);
    }
}

#[test]
fn a_request_waits_for_its_link_and_the_link_is_used_again() {
    let mut bench = Bench::new(1, PoolLimits::default());
    bench.submit(7).unwrap();
    assert_eq!(bench.event(), None);
    bench.connect_all();
    let (requester, link) = bench.assigned();
    assert_eq!(requester, 7);
    bench.pools.finish(link, true, bench.now);
    bench.submit(8).unwrap();
    assert!(bench.event().is_none() && bench.pools.wants_turn(bench.now), "not proved clean yet");
    assert_eq!(bench.pools.next_demand(bench.now), None);
    bench.turn();
    assert_eq!(bench.assigned(), (8, link));
    assert!(!bench.pools.wants_turn(bench.now));
    assert_eq!(bench.pools.counters().links_opened, 1);
}

#[test]
fn first_come_first_served() {
    let mut bench = Bench::new(1, PoolLimits { links_per_worker: 1, ..PoolLimits::default() });
    (1..=3).for_each(|n| bench.submit(n).unwrap());
    bench.connect_all();
    for n in 1..=3 {
        let (requester, link) = bench.assigned();
        assert_eq!(requester, n);
        bench.pools.finish(link, true, bench.now);
        bench.turn();
    }
}

#[test]
fn the_worker_with_the_fewest_requests_gets_the_next() {
    let mut bench = Bench::new(2, PoolLimits::default());
    (1..=4).for_each(|n| bench.submit(n).unwrap());
    bench.connect_all();
    let links: Vec<LinkId> = (0..4).map(|_| bench.assigned().1).collect();
    let ports: Vec<u32> = links.iter().map(|link| bench.port(*link)).collect();
    assert_eq!(ports.iter().filter(|p| **p == 10_000).count(), 2, "{ports:?}");
}

#[test]
fn the_queue_is_bounded() {
    let mut bench = Bench::new(1, PoolLimits { queue_length: 2, ..PoolLimits::default() });
    assert_eq!([bench.submit(1), bench.submit(2), bench.submit(3)], [Ok(()), Ok(()), Err(Reason::QueueFull)]);
    assert_eq!(bench.pools.counters().rejected, 1);
    bench.pools.withdraw(PoolId(0), who(1));
    assert_eq!(bench.submit(3), Ok(()));
}

#[test]
fn a_request_that_waits_too_long_expires() {
    let mut bench = Bench::new(1, PoolLimits::default());
    bench.submit(1).unwrap();
    assert!(bench.pools.next_deadline(bench.now).unwrap() <= bench.now + Duration::from_secs(120));
    bench.later(Duration::from_secs(121));
    assert_eq!(bench.event(), Some(PoolEvent::Expired(who(1))));
    assert_eq!(bench.pools.waiting(), 0);
}

#[test]
fn a_worker_that_does_not_answer_is_tried_again_later_and_later() {
    let mut bench = Bench::new(1, PoolLimits::default());
    bench.submit(1).unwrap();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let stream = *bench.pools.streams.transport.open.keys().next().unwrap();
        bench.close(stream, CloseReason::TimedOut);
        assert!(bench.pools.streams.transport.open.is_empty(), "not at once");
        let at = bench.pools.next_deadline(bench.now).unwrap();
        pauses.push(at.since(bench.now).as_millis());
        bench.later(at.since(bench.now));
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1000]);
    bench.connect_all();
    assert_eq!(bench.assigned().0, 1);
}

#[test]
fn a_link_that_ends_in_use_is_reported_and_can_still_be_read() {
    let mut bench = Bench::new(1, PoolLimits::default());
    bench.submit(1).unwrap();
    bench.connect_all();
    let (_, link) = bench.assigned();
    let stream = bench.stream(link);
    bench.pools.streams.transport.open.get_mut(&stream).unwrap().1.extend(b"late");
    bench.close(stream, CloseReason::Reset);
    assert_eq!(bench.event(), Some(PoolEvent::LinkEnded(who(1), CloseReason::Reset)));
    assert_eq!(bench.pools.readable(link), b"late");
    bench.pools.finish(link, true, bench.now);
    assert!(bench.pools.streams.transport.open.is_empty());
    assert_eq!((bench.pools.links_in_use(), bench.pools.counters().links_lost), (0, 1));
}

#[test]
fn unsolicited_bytes_close_the_link() {
    let mut bench = Bench::new(1, PoolLimits::default());
    bench.submit(1).unwrap();
    bench.connect_all();
    let (_, link) = bench.assigned();
    let stream = bench.stream(link);
    bench.pools.finish(link, true, bench.now);
    bench.pools.streams.transport.events.push_back(StreamEvent::Readable(stream));
    bench.pools.poll(bench.now);
    assert!(bench.pools.streams.transport.open.is_empty());
    // Unread bytes at the end of an exchange count as well.
    bench.submit(2).unwrap();
    bench.connect_all();
    let (_, link) = bench.assigned();
    let stream = bench.stream(link);
    bench.pools.streams.transport.open.get_mut(&stream).unwrap().1.extend(b"more than asked for");
    bench.pools.finish(link, true, bench.now);
    assert!(bench.pools.streams.transport.open.is_empty());
}

/// The rules of reuse, at every moment at which bytes may lie on a link.
#[test]
fn stray_bytes_reach_no_requester() {
    let one = PoolLimits { links_per_worker: 1, ..PoolLimits::default() };
    // In the turn after the end of a response, while the next request waits.
    let mut bench = Bench::new(1, one);
    (1..=2).for_each(|n| bench.submit(n).unwrap());
    bench.connect_all();
    let (_, first) = bench.assigned();
    bench.pools.finish(first, true, bench.now);
    bench.say(first, b"evil");
    bench.turn();
    assert_eq!((bench.pools.counters().unasked, bench.event()), (1, None));
    bench.connect_all();
    let (requester, second) = bench.assigned();
    assert!(requester == 2 && second != first && bench.pools.readable(second).is_empty());
    // Before the worker has read a byte of the request.
    bench.pools.streams.transport.early = true;
    bench.say(second, b"evil");
    bench.turn();
    assert_eq!(bench.event(), Some(PoolEvent::LinkEnded(who(2), CloseReason::Protocol)));
    assert!(bench.pools.is_spoiled(second) && bench.pools.readable(second).is_empty());
    bench.pools.resubmit(second, who(2), Loss::Spoiled, &Fingerprint::of(PoolId(0), b""), bench.now);
    bench.pools.streams.transport.early = false;
    bench.connect_all();
    let (requester, third) = bench.assigned();
    // A proper answer is passed on.
    bench.say(third, b"answer");
    bench.turn();
    assert_eq!(
        (requester, bench.event(), bench.pools.readable(third)),
        (2, Some(PoolEvent::Ready(who(2))), &b"answer"[..])
    );
    bench.pools.finish(third, true, bench.now);
    // On a new link, before any request.
    bench.submit(3).unwrap();
    let stream = *bench.pools.streams.transport.open.keys().next().unwrap();
    bench.pools.streams.transport.events.push_back(StreamEvent::Connected(stream));
    bench.turn();
    assert_eq!(bench.event(), None);
    bench.pools.streams.transport.open.get_mut(&stream).unwrap().1.extend(b"220 hello");
    bench.turn();
    assert_eq!((bench.event(), bench.pools.counters().unasked), (None, 4));
}

#[test]
fn a_request_whose_worker_was_silent_waits_for_another_one() {
    let mut bench = Bench::new(2, PoolLimits { links_per_worker: 1, ..PoolLimits::default() });
    (1..=2).for_each(|n| bench.submit(n).unwrap());
    bench.connect_all();
    let (_, first) = bench.assigned();
    let (_, second) = bench.assigned();
    assert!(bench.pools.has_alternative(first, bench.now));
    let port = bench.port(first);
    bench.pools.resubmit(first, who(1), Loss::Silent, &Fingerprint::of(PoolId(0), b""), bench.now);
    bench.later(Duration::from_secs(20));
    assert_eq!(bench.event(), None, "the other one is busy");
    bench.pools.finish(second, true, bench.now);
    bench.turn();
    let (requester, link) = bench.assigned();
    assert!(requester == 1 && bench.port(link) != port);
    // Without another worker, the request is refused.
    let mut bench = Bench::new(1, PoolLimits::default());
    bench.submit(1).unwrap();
    bench.connect_all();
    let (_, link) = bench.assigned();
    assert!(!bench.pools.has_alternative(link, bench.now));
    bench.pools.resubmit(link, who(1), Loss::Silent, &Fingerprint::of(PoolId(0), b""), bench.now);
    bench.later(AVOID_FOR);
    assert_eq!(bench.event(), Some(PoolEvent::Refused(who(1), Reason::TimerResponse)));
}

#[test]
fn links_are_bounded_over_all_pools() {
    let worker = |port| vec![settings::Worker { cid: 2, port }];
    let settings = [10_000, 10_001].map(|port| settings::Pool {
        name: "app".into(),
        workers: worker(port),
        ..Default::default()
    });
    let limits = PoolLimits { links: 2, ..PoolLimits::default() };
    let mut bench =
        Bench { pools: Pools::new(&settings, limits, Script::default(), Instant::ZERO), now: Instant::ZERO };
    (1..=3).for_each(|n| bench.submit(n).unwrap());
    bench.connect_all();
    assert_eq!((bench.pools.streams.transport.open.len(), bench.pools.waiting()), (2, 1));
    let (_, first) = bench.assigned();
    let (_, second) = bench.assigned();
    bench.pools.withdraw(PoolId(0), who(3));
    bench.pools.finish(first, true, bench.now);
    // An idle link of one pool makes room for a request to another.
    bench.pools.submit(PoolId(1), who(4), bench.now).unwrap();
    bench.connect_all();
    let (requester, link) = bench.assigned();
    assert_eq!((requester, bench.pools.streams.transport.open.len()), (4, 2));
    bench.pools.finish(link, true, bench.now);
    bench.pools.finish(second, true, bench.now);
}

#[test]
fn idle_links_are_closed_in_time() {
    let mut bench = Bench::new(1, PoolLimits::default());
    (1..=2).for_each(|n| bench.submit(n).unwrap());
    bench.connect_all();
    for pause in [0, 30] {
        bench.later(Duration::from_secs(pause));
        let (_, link) = bench.assigned();
        bench.pools.finish(link, true, bench.now);
    }
    bench.later(Duration::from_secs(31));
    assert_eq!(bench.pools.streams.transport.open.len(), 1);
    bench.later(Duration::from_secs(30));
    assert_eq!((bench.pools.streams.transport.open.len(), bench.pools.next_deadline(bench.now)), (0, None));
}

#[test]
fn requests_wait_for_a_free_stream() {
    let mut bench = Bench::new(1, PoolLimits::default());
    bench.pools.streams.transport.full = true;
    bench.submit(1).unwrap();
    let at = bench.pools.next_deadline(bench.now).unwrap();
    assert!(at > bench.now, "no busy loop");
    bench.pools.streams.transport.full = false;
    bench.later(at.since(bench.now));
    bench.connect_all();
    assert_eq!(bench.assigned().0, 1);
}
