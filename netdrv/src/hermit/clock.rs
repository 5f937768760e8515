//! Time: the time stamp counter, calibrated against the programmable interval timer.
//!
//! The kernel calibrates it too, but to whole megahertz and by counting interrupts, which a busy host delays. Here both ends of
//! the measurement are sampled several times and the tightest sample is used, so that a disturbed one does no harm. With QEMU's
//! emulator the counter is the host's; the method works for it as for a real machine.

use super::{abi, apic::Apic, cpu, pit::Pit};

/// Monotonic time and wall clock. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start_tsc: u64,
    /// Nanoseconds per count, times 2³².
    ns_per_count: u64,
    /// Wall clock at `start_tsc`, in nanoseconds since 1970.
    start_wall_ns: u64,
}

/// Duration of the calibration: 10 ms.
const MEASURE_TICKS: u64 = Pit::HZ / 100;

impl Clock {
    /// Calibrates for 10 ms, the APIC timer as well.
    pub(super) fn measure(apic: &mut Apic) -> Self {
        let start_wall_ns = abi::kernel_time_ns(true);
        let start_tsc = cpu::rdtsc();
        Pit::start();
        let (first_count, first_tsc) = Pit::sample();
        apic.start_measuring();
        let mut now = first_count;
        let limit = cpu::rdtsc().wrapping_add(1 << 33);
        while first_count.saturating_sub(now) < MEASURE_TICKS && cpu::rdtsc() < limit {
            now = Pit::read();
        }
        let (last_count, last_tsc) = Pit::sample();
        let ticks = first_count.saturating_sub(last_count);
        apic.finish_measuring(ticks);
        let counts = last_tsc.wrapping_sub(first_tsc).max(1);
        // Without a timer chip, assume 1 GHz.
        let ns_per_count = if ticks < MEASURE_TICKS {
            1 << 32
        } else {
            ((u128::from(ticks) * 1_000_000_000 << 32) / (u128::from(Pit::HZ) * u128::from(counts))) as u64
        };
        Self { start_tsc, ns_per_count, start_wall_ns }
    }

    /// Nanoseconds since [`super::Machine::start`]. Never decreases.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        let counts = cpu::rdtsc().wrapping_sub(self.start_tsc);
        (u128::from(counts) * u128::from(self.ns_per_count) >> 32) as u64
    }

    /// Nanoseconds since 1970 when [`Clock::now_ns`] was 0.
    #[must_use]
    pub fn start_wall_ns(&self) -> u64 {
        self.start_wall_ns
    }

    /// Seconds since 1970: the machine's real-time clock at start plus monotonic time since.
    #[must_use]
    pub fn unix_seconds(&self) -> u64 {
        (self.start_wall_ns + self.now_ns()) / 1_000_000_000
    }
}
