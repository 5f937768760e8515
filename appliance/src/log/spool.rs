//! Lines that wait for the host, in memory of a fixed size.

use alloc::collections::VecDeque;
use alloc::format;

/// What a line is: its first byte on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Of the access log.
    Access = b'a',
    /// Of the error log.
    Error = b'e',
    /// A decimal number: so many lines found no room.
    Dropped = b'd',
}

/// Room kept for telling how much was dropped.
const NOTICE: usize = 24;

/// Whole lines with their first byte and LF at the end.
#[derive(Debug)]
pub struct Spool {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The front part of the first line is gone already.
    inside_line: bool,
    /// Dropped since the host was last told.
    untold: u64,
    dropped: u64,
    lines: u64,
}

impl Spool {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::with_capacity(capacity),
            capacity,
            inside_line: false,
            untold: 0,
            dropped: 0,
            lines: 0,
        }
    }

    /// Adds a line; drops it if there is no room.
    pub fn push(&mut self, kind: Kind, line: &[u8]) {
        let notice = if self.untold > 0 { NOTICE } else { 0 };
        if self.bytes.len() + notice + line.len() + 2 > self.capacity {
            self.drop_line();
            return;
        }
        if self.untold > 0 {
            let untold = core::mem::take(&mut self.untold);
            self.put(Kind::Dropped, format!("{untold}").as_bytes());
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
        self.untold += 1;
        self.dropped += 1;
    }

    /// The front part of what waits; empty only if nothing does.
    pub fn front(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// So many bytes of [`Spool::front`] were taken.
    pub fn take(&mut self, n: usize) {
        if let Some(&last) = n.checked_sub(1).and_then(|last| self.bytes.get(last)) {
            self.inside_line = last != b'\n';
        }
        self.bytes.drain(..n.min(self.bytes.len()));
    }

    /// The stream ended: a line of which it took a part is lost.
    pub fn break_off(&mut self) {
        if !core::mem::take(&mut self.inside_line) {
            return;
        }
        let end = self.bytes.iter().position(|&b| b == b'\n').map_or(self.bytes.len(), |at| at + 1);
        self.bytes.drain(..end);
        self.drop_line();
    }

    /// Lines taken in, since the start.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines dropped, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(spool: &mut Spool) -> String {
        let mut out = Vec::new();
        while !spool.is_empty() {
            let n = spool.front().len();
            out.extend_from_slice(spool.front());
            spool.take(n);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told() {
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
    fn a_broken_stream_costs_the_line_it_was_in() {
        let mut spool = Spool::new(100);
        spool.push(Kind::Access, b"first");
        spool.push(Kind::Access, b"second");
        spool.take(3);
        spool.break_off();
        spool.break_off();
        assert_eq!((all(&mut spool), spool.dropped()), ("asecond\n".into(), 1));
        spool.push(Kind::Access, b"z");
        spool.take(3);
        spool.break_off();
        assert_eq!(spool.dropped(), 1);
    }

    proptest! {
        #[test]
        fn never_grows_and_loses_nothing_uncounted(steps in prop::collection::vec((0usize..60, 0usize..60, any::<bool>()), 0..200)) {
            let mut spool = Spool::new(128);
            let (mut pushed, mut text) = (0, Vec::new());
            for (len, taken, broken) in steps {
                spool.push(Kind::Access, &vec![b'l'; len]);
                pushed += 1;
                prop_assert!(spool.len() <= 128);
                let n = taken.min(spool.front().len());
                text.extend_from_slice(&spool.front()[..n]);
                spool.take(n);
                if broken {
                    let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
                    text.truncate(whole);
                    spool.break_off();
                }
            }
            text.extend(all(&mut spool).bytes());
            let text = String::from_utf8(text).unwrap();
            let lines = text.lines().filter(|line| line.starts_with('a')).count() as u64;
            // A notice that was in the stream when it broke is told again in the next one's count or lost with it.
            prop_assert!(lines + spool.dropped() >= pushed);
        }
    }
}
