//! Peers that have no room, and peers that throw away what they had room for, as passt does.

use super::*;

const MSS: usize = 1460;

impl Bench {
    /// The peer acknowledges everything before `ack` and says how much room it has.
    fn told(&mut self, id: ConnId, seq: TcpSeqNumber, ack: TcpSeqNumber, window: u16) {
        self.receive(&segment_with(5000, 80, TcpControl::None, seq, Some(ack), window, b"")).unwrap();
        self.flush(id);
    }

    /// Goes on to each deadline, until `end`; what is sent, each with the milliseconds since the start.
    fn sent_until(&mut self, end: Instant) -> Vec<(u64, Segment)> {
        let mut sent = Vec::new();
        while let Some(at) = self.stack.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            while let Some(id) = self.stack.pop_due(self.now) {
                self.flush(id);
            }
            self.card.room = 64;
            let now_ms = self.now.as_nanos() / 1_000_000;
            sent.extend(std::iter::from_fn(|| self.sent_segment()).map(|segment| (now_ms, segment)));
        }
        self.now = end;
        sent
    }

    fn send(&mut self, id: ConnId, len: usize) {
        let (socket, _) = self.stack.get(id).unwrap();
        assert_eq!(socket.send_slice(&vec![7; len]).unwrap(), len);
        self.flush(id);
    }
}

/// passt takes a part of what is in flight and drops the rest, says that it has no room, and speaks no more unless it is sent
/// what it expects.
#[test]
fn what_a_peer_without_room_has_thrown_away_is_sent_again_from_its_beginning() {
    let mut bench = Bench::with_static_address();
    let (id, seq, start) = bench.connect(5000);
    bench.send(id, 20 * MSS);
    let in_flight =
        std::iter::from_fn(|| bench.sent_segment()).map(|segment| segment.payload.len()).sum::<usize>();
    assert!(in_flight > MSS, "{in_flight}");
    let taken = start + 500;
    bench.told(id, seq, taken, 0);
    let sent = bench.sent_until(Instant::from_nanos(8_000_000_000));
    let content: Vec<_> = sent.iter().filter(|(_, segment)| !segment.payload.is_empty()).collect();
    assert!(content.len() >= 2, "it is repeated: {sent:?}");
    assert!(
        content.iter().all(|(_, segment)| segment.seq == taken),
        "not what the peer expects: {content:?}"
    );
    assert!(content.iter().all(|(_, segment)| segment.payload.len() <= 1), "more than a closed window bears");
    // It had room for that byte, and has some again.
    bench.told(id, seq, taken + 1, 60_000);
    let next = bench.sent_segment().unwrap();
    assert!(next.seq == taken + 1 && next.payload.len() > 500, "{next:?}");
}

/// It has room again, and still not what was in flight: its time-out has grown meanwhile, and is not waited for.
#[test]
fn what_was_thrown_away_is_sent_again_as_soon_as_there_is_room() {
    let mut bench = Bench::with_static_address();
    let (id, seq, start) = bench.connect(5000);
    bench.send(id, 20 * MSS);
    let taken = start + 500;
    bench.told(id, seq, taken, 0);
    bench.sent_until(Instant::from_nanos(100_000_000_000));
    bench.card.sent.clear();
    bench.told(id, seq, taken, 60_000);
    let next = bench.sent_segment().unwrap();
    assert!(next.seq == taken && next.payload.len() > 500, "{next:?}");
}

/// Nothing is in flight, the window was closed, and nobody says that it is open.
#[test]
fn a_closed_window_is_asked_for_soon_and_then_more_and_more_rarely() {
    let mut bench = Bench::with_static_address();
    let (id, seq, start) = bench.connect(5000);
    bench.send(id, 1_000);
    bench.told(id, seq, start + 1_000, 0);
    bench.send(id, 1_500);
    bench.card.sent.clear();
    let sent = bench.sent_until(Instant::from_nanos(30_000_000_000));
    let (asked, bytes): (Vec<_>, Vec<_>) = sent.iter().partition(|(_, segment)| segment.payload.is_empty());
    let at: Vec<_> = asked.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [50, 150, 350, 750, 1_550, 3_150, 6_350, 12_750, 19_150, 25_550]);
    for (_, segment) in asked {
        assert_eq!((segment.seq, segment.ack), (start + 999, Some(seq)), "before what is expected");
        assert_eq!(segment.window, 65_535, "our own window stays open");
    }
    // smoltcp's own questions, which are not taken for content that was lost.
    for (_, segment) in bytes {
        assert_eq!((segment.seq, segment.payload.len()), (start + 1_000, 1));
        bench.told(id, seq, start + 1_000, 0);
    }
    assert_eq!(bench.stack.take_resent(id), 0);
    // Once there is room everything goes out, and nothing is asked any more.
    bench.card.sent.clear();
    bench.told(id, seq, start + 1_000, 60_000);
    let first = bench.sent_segment().unwrap();
    assert_eq!(first.seq, start + 1_000);
    bench.told(id, seq, start + 2_500, 60_000);
    bench.card.sent.clear();
    assert!(bench.sent_until(Instant::from_nanos(90_000_000_000)).is_empty());
}

#[test]
fn nobody_is_asked_for_room_that_is_not_needed() {
    let mut bench = Bench::with_static_address();
    let (id, seq, start) = bench.connect(5000);
    bench.told(id, seq, start, 0);
    assert!(bench.sent_until(Instant::from_nanos(30_000_000_000)).is_empty());
    let _ = id;
}

/// A client that is asked whether it is there has a timeout, which must not seem to have passed when data is sent again.
#[test]
fn a_connection_with_a_timeout_survives_the_opening_of_a_window() {
    let mut bench = Bench::with_static_address();
    let (id, seq, start) = bench.connect(5000);
    bench.stack.get(id).unwrap().0.set_timeout(Some(smoltcp::time::Duration::from_secs(90)));
    bench.send(id, 20 * MSS);
    bench.told(id, seq, start + 500, 0);
    bench.told(id, seq, start + 500, 60_000);
    assert_eq!(bench.stack.get(id).unwrap().0.state(), State::Established);
}
