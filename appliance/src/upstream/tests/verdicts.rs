//! Stream ends that a relay has to confirm.

use super::*;
use model::id::PoolId;
use model::pool::VERDICT_LIMIT;

/// A link over a relay, the name of its stream, and one request in progress.
fn relayed() -> (Bench, LinkId, u64) {
    let mut bench = Bench::new(0, PoolLimits::default());
    bench.now = Instant::ZERO + Duration::from_secs(5);
    bench.pools.add_worker(PoolId(0), VsockAddr { cid: 2, port: 20_000 }, true, bench.now);
    bench.submit(1).expect("there is room");
    bench.connect_all();
    let (_, link) = bench.assigned();
    let name = bench.pools.streams.transport.sent[&bench.stream(link)].clone();
    let name = u64::from_le_bytes(name.try_into().expect("eight bytes, and nothing else yet"));
    (bench, link, name)
}

#[test]
fn an_end_is_believed_when_it_is_confirmed_whichever_comes_first() {
    for (whole, ending) in [(true, Ending::Whole), (false, Ending::Broken)] {
        let (mut bench, link, name) = relayed();
        let stream = bench.stream(link);
        bench.close(stream, CloseReason::Shutdown);
        assert_eq!(bench.event(), Some(PoolEvent::LinkEnded(who(1), CloseReason::Shutdown)));
        assert_eq!(bench.pools.ending(link), Ending::Unknown);
        bench.pools.stream_ended(name + 1, !whole);
        assert_eq!((bench.pools.ending(link), bench.event()), (Ending::Unknown, None), "another's");
        bench.pools.stream_ended(name, whole);
        assert_eq!((bench.pools.ending(link), bench.event()), (ending, Some(PoolEvent::Ready(who(1)))));

        let (mut bench, link, name) = relayed();
        let stream = bench.stream(link);
        bench.pools.stream_ended(name, whole);
        assert_eq!(bench.event(), None, "nothing has ended yet");
        bench.close(stream, CloseReason::Shutdown);
        assert_eq!(bench.pools.ending(link), ending);
        assert_eq!(bench.pools.verdicts_at, None);
    }
}

#[test]
fn an_unconfirmed_end_counts_as_broken_after_a_while() {
    let (mut bench, link, name) = relayed();
    let stream = bench.stream(link);
    bench.close(stream, CloseReason::Shutdown);
    assert!(bench.event().is_some());
    assert!(bench.pools.next_deadline(bench.now).is_some_and(|at| at <= bench.now + VERDICT_LIMIT));
    bench.later(VERDICT_LIMIT);
    assert_eq!((bench.pools.ending(link), bench.event()), (Ending::Broken, Some(PoolEvent::Ready(who(1)))));
    bench.pools.stream_ended(name, true);
    assert_eq!(bench.pools.ending(link), Ending::Broken, "too late");
    assert_eq!((bench.pools.counters().unconfirmed, bench.pools.verdicts_at), (1, None));
}

#[test]
fn a_report_of_a_cut_is_final() {
    let (mut bench, link, name) = relayed();
    bench.pools.stream_ended(name, false);
    bench.pools.stream_ended(name, true);
    assert_eq!(bench.pools.ending(link), Ending::Broken);
}

#[test]
fn without_a_relay_the_end_of_the_stream_is_the_end() {
    let mut bench = Bench::new(1, PoolLimits::default());
    bench.submit(1).expect("there is room");
    bench.connect_all();
    let (_, link) = bench.assigned();
    assert!(bench.pools.streams.transport.sent.is_empty(), "no name");
    let stream = bench.stream(link);
    bench.close(stream, CloseReason::Shutdown);
    assert_eq!(bench.pools.ending(link), Ending::Whole);
}
