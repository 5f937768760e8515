//! The host's log collector, which may be absent.

use crate::streams::{Packet, SimStreams};
use netdrv::stream::{StreamEvent, StreamId, StreamTransport};
use std::collections::HashMap;

/// The port it listens on.
pub const PORT: u32 = 9_999;

#[derive(Default)]
pub struct Collector {
    streams: SimStreams,
    unfinished: HashMap<StreamId, Vec<u8>>,
    /// Whole lines in order of arrival, each with its kind byte.
    pub lines: Vec<String>,
    /// It does not respond.
    pub away: bool,
    /// It reads nothing.
    pub stuck: bool,
}

impl Collector {
    pub fn new() -> Self {
        let mut collector = Self::default();
        collector.streams.listen(PORT);
        collector
    }

    /// Numbers of its streams.
    pub fn numbers(&self) -> Vec<u64> {
        self.streams.numbers()
    }

    /// Crashes and restarts, losing everything unfinished.
    pub fn restart(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        *self = Self { lines, ..Self::new() };
    }

    pub fn deliver(&mut self, stream: u64, packet: Packet) {
        if !self.away {
            self.streams.deliver(stream, packet);
        }
    }

    /// Does its work; returns packets to send.
    pub fn turn(&mut self) -> Vec<(u64, Packet)> {
        while let Some(event) = self.streams.next_event() {
            match event {
                StreamEvent::Accepted { stream, .. } => drop(self.unfinished.insert(stream, Vec::new())),
                StreamEvent::Closed(stream, _) => {
                    self.unfinished.remove(&stream);
                    self.streams.release(stream);
                }
                _ => {}
            }
        }
        if !self.stuck {
            for (stream, unfinished) in &mut self.unfinished {
                let piece = self.streams.readable(*stream).to_vec();
                self.streams.consume(*stream, piece.len());
                unfinished.extend(piece);
                while let Some(end) = unfinished.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = unfinished.drain(..=end).collect();
                    let sent = self.streams.send(*stream, &(line.len() as u32).to_le_bytes());
                    assert_eq!(sent, 4, "there is room for an acknowledgement");
                    self.lines.push(String::from_utf8(line[..end].to_vec()).expect("lines are text"));
                }
            }
        }
        std::mem::take(&mut self.streams.outgoing)
    }

    /// Lines of a kind, without the kind byte.
    pub fn of(&self, kind: char) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line.strip_prefix(kind)).collect()
    }
}
