//! The network between the appliance and its clients: loses, duplicates, delays and thereby reorders frames.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Quality of the network.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Minimum latency of a frame, ns.
    pub delay_ns: u64,
    /// Maximum additional latency, ns.
    pub jitter_ns: u64,
    /// Frames lost, per thousand.
    pub loss_permille: u64,
    /// Frames duplicated, per thousand.
    pub duplicate_permille: u64,
}

impl Quality {
    /// 100 µs, nothing lost.
    pub const LAN: Self = Self { delay_ns: 100_000, jitter_ns: 0, loss_permille: 0, duplicate_permille: 0 };
}

/// Destination of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    Appliance,
    Client(usize),
}

/// A frame in transit: time of arrival, number, destination. The number orders frames that arrive at the same time.
type UnderWay = (u64, u64, To, Vec<u8>);

/// Frames in transit, by time of arrival.
pub struct Network {
    pub quality: Quality,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    count: u64,
    /// Print every frame (set `WEIR_SIM_TRACE`).
    trace: bool,
}

impl Network {
    pub fn new(quality: Quality) -> Self {
        Self {
            quality,
            under_way: BinaryHeap::new(),
            count: 0,
            trace: std::env::var_os("WEIR_SIM_TRACE").is_some(),
        }
    }

    pub fn send(&mut self, now_ns: u64, to: To, frame: Vec<u8>, rng: &mut fastrand::Rng) {
        let quality = self.quality;
        let copies = if rng.u64(..1000) < quality.loss_permille {
            0
        } else {
            1 + usize::from(rng.u64(..1000) < quality.duplicate_permille)
        };
        if self.trace {
            let bytes = &frame[14..];
            let packet = smoltcp::wire::PrettyPrinter::<smoltcp::wire::Ipv4Packet<&[u8]>>::new("", &bytes);
            eprintln!("{now_ns:>12} {copies} copies to {to:?}: {packet}");
        }
        for _ in 0..copies {
            let at = now_ns + quality.delay_ns + rng.u64(..=quality.jitter_ns);
            self.count += 1;
            self.under_way.push(Reverse((at, self.count, to, frame.clone())));
        }
    }

    pub fn next_arrival(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse((at, ..))| *at)
    }

    pub fn arrived(&mut self, now_ns: u64) -> Option<(To, Vec<u8>)> {
        if self.next_arrival()? > now_ns {
            return None;
        }
        self.under_way.pop().map(|Reverse((_, _, to, frame))| (to, frame))
    }
}
