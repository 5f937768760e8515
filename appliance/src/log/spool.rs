//! Log lines that wait for the host, in a fixed amount of memory.

use alloc::collections::VecDeque;
use alloc::format;
use model::log::Kind;

/// Bytes reserved for the notice of dropped lines.
const NOTICE: usize = 24;

/// Whole lines, each with its kind byte and LF. A line stays until the host has acknowledged it.
#[derive(Debug)]
pub struct Spool {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// How many of the bytes were sent and are not acknowledged.
    sent: usize,
    /// The start of the first line was acknowledged already.
    inside_line: bool,
    /// Lines dropped since the last notice to the host.
    unreported: u64,
    dropped: u64,
    lines: u64,
}

impl Spool {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::with_capacity(capacity),
            capacity,
            sent: 0,
            inside_line: false,
            unreported: 0,
            dropped: 0,
            lines: 0,
        }
    }

    /// Adds a line, or drops it if there is no room.
    pub fn push(&mut self, kind: Kind, line: &[u8]) {
        let notice = if self.unreported > 0 { NOTICE } else { 0 };
        if self.bytes.len() + notice + line.len() + 2 > self.capacity {
            self.drop_line();
            return;
        }
        if self.unreported > 0 {
            let unreported = core::mem::take(&mut self.unreported);
            self.put(Kind::Dropped, format!("{unreported}").as_bytes());
        }
        self.lines += 1;
        self.put(kind, line);
    }

    fn put(&mut self, kind: Kind, line: &[u8]) {
        self.bytes.push_back(kind as u8);
        self.bytes.extend(line);
        self.bytes.push_back(b'\n');
    }

    fn drop_line(&mut self) {
        self.unreported += 1;
        self.dropped += 1;
    }

    /// The first contiguous part of the unsent bytes; empty only if all were sent.
    pub fn unsent(&self) -> &[u8] {
        let (front, back) = self.bytes.as_slices();
        match self.sent.checked_sub(front.len()) {
            None => front.get(self.sent..),
            Some(sent) => back.get(sent..),
        }
        .unwrap_or_default()
    }

    /// Bytes waiting to be sent or acknowledged.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Notes that `n` bytes of [`Spool::unsent`] were sent.
    pub fn sent(&mut self, n: usize) {
        self.sent = (self.sent + n).min(self.bytes.len());
    }

    /// Removes `n` more bytes, which the host has acknowledged. Ignores any excess over those sent.
    pub fn acknowledged(&mut self, n: usize) {
        let n = n.min(self.sent);
        if let Some(&last) = n.checked_sub(1).and_then(|last| self.bytes.get(last)) {
            self.inside_line = last != b'\n';
        }
        self.bytes.drain(..n);
        self.sent -= n;
    }

    /// Prepares to send unacknowledged lines again on a new stream. A partly acknowledged line is lost.
    pub fn rewind(&mut self) {
        self.sent = 0;
        if !core::mem::take(&mut self.inside_line) {
            return;
        }
        let end = self.bytes.iter().position(|&b| b == b'\n').map_or(self.bytes.len(), |at| at + 1);
        self.bytes.drain(..end);
        self.drop_line();
    }

    /// Lines accepted since the start.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All unsent bytes, acknowledged at once.
    fn all(spool: &mut Spool) -> String {
        let mut out = Vec::new();
        while !spool.unsent().is_empty() {
            let n = spool.unsent().len();
            out.extend_from_slice(spool.unsent());
            spool.sent(n);
            spool.acknowledged(n);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dropped_lines_are_counted_and_reported() {
        let mut spool = Spool::new(40);
        spool.push(Kind::Access, b"0123456789012345");
        spool.push(Kind::Error, b"0123456789012345");
        for _ in 0..3 {
            spool.push(Kind::Access, b"0123456789012345");
        }
        assert_eq!((spool.dropped(), spool.lines()), (3, 2));
        assert_eq!(all(&mut spool), "a0123456789012345\ne0123456789012345\n");
        spool.push(Kind::Access, b"x");
        assert_eq!(all(&mut spool), "d3\nax\n");
        spool.push(Kind::Access, b"y");
        assert_eq!(all(&mut spool), "ay\n");
    }

    #[test]
    fn unacknowledged_lines_are_sent_again() {
        let mut spool = Spool::new(100);
        spool.push(Kind::Access, b"first");
        spool.push(Kind::Access, b"second");
        spool.sent(10);
        spool.acknowledged(7);
        assert_eq!(spool.unsent(), b"cond\n");
        spool.rewind();
        assert_eq!((all(&mut spool), spool.dropped()), ("asecond\n".into(), 0));
    }

    #[test]
    fn a_line_acknowledged_in_part_is_lost_and_counted() {
        let mut spool = Spool::new(100);
        spool.push(Kind::Access, b"first");
        spool.push(Kind::Access, b"second");
        spool.sent(3);
        // More than was sent.
        spool.acknowledged(50);
        assert_eq!(spool.len(), "rst\nasecond\n".len());
        spool.rewind();
        spool.rewind();
        assert_eq!((all(&mut spool), spool.dropped()), ("asecond\n".into(), 1));
    }

    proptest! {
        /// The host gets every line not reported as dropped, once or, after a break, again.
        #[test]
        fn never_grows_and_loses_nothing_uncounted(steps in prop::collection::vec((0usize..60, 0usize..60, 0usize..60, any::<bool>()), 0..200)) {
            let mut spool = Spool::new(128);
            let (mut pushed, mut kept, mut stream) = (0, Vec::new(), Vec::new());
            // Whole lines are stored and acknowledged, as the collector does.
            let keep = |spool: &mut Spool, stream: &mut Vec<u8>, kept: &mut Vec<u8>| {
                let whole = stream.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
                kept.extend(stream.drain(..whole));
                spool.acknowledged(whole);
            };
            for (len, sent, again, broken) in steps {
                spool.push(Kind::Access, &vec![b'l'; len]);
                pushed += 1;
                prop_assert!(spool.len() <= 128);
                for n in [sent, again] {
                    let n = n.min(spool.unsent().len());
                    stream.extend_from_slice(&spool.unsent()[..n]);
                    spool.sent(n);
                }
                if broken {
                    stream.clear();
                    spool.rewind();
                } else {
                    keep(&mut spool, &mut stream, &mut kept);
                }
            }
            while !spool.unsent().is_empty() {
                let n = spool.unsent().len();
                stream.extend_from_slice(spool.unsent());
                spool.sent(n);
                keep(&mut spool, &mut stream, &mut kept);
            }
            prop_assert!(spool.is_empty());
            let text = String::from_utf8(kept).unwrap();
            let lines = text.lines().filter(|line| line.starts_with('a')).count() as u64;
            prop_assert_eq!(lines + spool.dropped(), pushed);
        }
    }
}
