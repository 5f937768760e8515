//! Flow control (virtio 1.2 §5.10.6.3): free-running 32-bit byte counters.

use super::RECEIVE_BUFFER;

/// Amount of consumed but unreported data at which the peer is told unasked: half the buffer.
const UPDATE_AFTER: u32 = RECEIVE_BUFFER / 2;

/// The credit of one stream in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Credit {
    /// Bytes sent; how many the peer has consumed; and the size of its buffer.
    sent: u32,
    peer_consumed: u32,
    peer_buffer: u32,
    /// Bytes received; how many were consumed; and how many were reported to the peer.
    received: u32,
    consumed: u32,
    told: u32,
}

impl Credit {
    /// How many bytes may be sent.
    #[inline]
    pub(super) fn sendable(&self) -> u32 {
        self.peer_buffer.saturating_sub(self.sent.wrapping_sub(self.peer_consumed))
    }

    /// Records that `n` bytes were sent, at most [`Credit::sendable`].
    #[inline]
    pub(super) fn sent(&mut self, n: u32) {
        self.sent = self.sent.wrapping_add(n);
    }

    /// Number of bytes sent; wraps around.
    #[inline]
    pub(super) fn sent_count(&self) -> u32 {
        self.sent
    }

    /// Whether the peer has not consumed everything that was sent.
    #[inline]
    pub(super) fn is_unread(&self) -> bool {
        self.sent != self.peer_consumed
    }

    /// Whether the peer has consumed anything sent after [`Credit::sent_count`] was `since`. Valid for less than 4 GiB.
    #[inline]
    pub(super) fn has_consumed_since(&self, since: u32) -> bool {
        self.sent.wrapping_sub(self.peer_consumed) < self.sent.wrapping_sub(since)
    }

    /// Updates the peer's state from a packet header. False if it claims to have consumed more than was sent, or less than
    /// before.
    #[inline]
    pub(super) fn update(&mut self, buf_alloc: u32, fwd_cnt: u32) -> bool {
        let unconsumed = self.sent.wrapping_sub(self.peer_consumed);
        if fwd_cnt.wrapping_sub(self.peer_consumed) > unconsumed {
            return false;
        }
        self.peer_consumed = fwd_cnt;
        self.peer_buffer = buf_alloc;
        true
    }

    /// Records that `n` bytes arrived; false if the peer had no credit for them.
    #[inline]
    pub(super) fn received(&mut self, n: u32) -> bool {
        let buffered = self.received.wrapping_sub(self.consumed);
        if n > RECEIVE_BUFFER.saturating_sub(buffered) {
            return false;
        }
        self.received = self.received.wrapping_add(n);
        true
    }

    /// Records that `n` received bytes were consumed. True if the peer should be told now.
    #[inline]
    pub(super) fn consumed(&mut self, n: u32) -> bool {
        self.consumed = self.consumed.wrapping_add(n);
        self.consumed.wrapping_sub(self.told) >= UPDATE_AFTER
    }

    /// The value for a packet's `fwd_cnt`.
    #[inline]
    pub(super) fn consumed_count(&self) -> u32 {
        self.consumed
    }

    /// Records that a packet with [`Credit::consumed_count`] is being sent.
    #[inline]
    pub(super) fn tell(&mut self) {
        self.told = self.consumed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Two ends, any order of sending, receiving and consuming, counts starting anywhere (they wrap): never more
        /// than a buffer in flight, and never a stall once everything is consumed and told.
        #[test]
        fn never_overruns_never_stalls(start: u32, steps in prop::collection::vec((0u8..4, 1u32..70_000), 1..300)) {
            let mut a = Credit { sent: start, peer_consumed: start, peer_buffer: RECEIVE_BUFFER, ..Credit::default() };
            let mut b = Credit { received: start, consumed: start, told: start, ..Credit::default() };
            let (mut wire, mut buffered) = (0u32, 0u32);
            for (what, n) in steps {
                match what {
                    0 => { let n = n.min(a.sendable()); a.sent(n); wire += n; }
                    1 => { prop_assert!(b.received(wire)); buffered += wire; wire = 0; }
                    2 => {
                        let n = n.min(buffered);
                        buffered -= n;
                        if b.consumed(n) { b.tell(); prop_assert!(a.update(RECEIVE_BUFFER, b.consumed_count())); }
                    }
                    _ => { b.tell(); prop_assert!(a.update(RECEIVE_BUFFER, b.consumed_count())); }
                }
                prop_assert!(wire + buffered <= RECEIVE_BUFFER);
            }
            prop_assert!(b.received(wire));
            let _ = b.consumed(buffered + wire);
            b.tell();
            prop_assert!(a.update(RECEIVE_BUFFER, b.consumed_count()));
            prop_assert_eq!(a.sendable(), RECEIVE_BUFFER);
        }
    }

    #[test]
    fn knows_what_the_peer_has_consumed_of_a_question() {
        let start = u32::MAX - 5;
        let mut credit =
            Credit { sent: start, peer_consumed: start - 10, peer_buffer: 100, ..Credit::default() };
        let since = credit.sent_count();
        assert!(!credit.has_consumed_since(since), "nothing was sent");
        credit.sent(20);
        assert!(!credit.has_consumed_since(since));
        assert!(
            credit.update(100, start) && !credit.has_consumed_since(since),
            "what came before the question"
        );
        assert!(credit.update(100, start.wrapping_add(1)) && credit.has_consumed_since(since));
    }

    #[test]
    fn refuses_impossible_counts() {
        let mut credit = Credit { peer_buffer: 100, ..Credit::default() };
        credit.sent(60);
        assert!(!credit.update(100, 61));
        assert!(credit.update(100, 60));
        assert!(!credit.update(100, 59));
        // A buffer that shrinks below what is in flight stops us but does no harm.
        credit.sent(100);
        assert!(credit.update(10, 60));
        assert_eq!(credit.sendable(), 0);
        assert!(!credit.received(RECEIVE_BUFFER + 1));
    }
}
