//! The programmable interval timer (Intel 8254), whose frequency is known, so that other clocks are calibrated against it.

use super::cpu;

/// Channel 2 of the 8254 timer, counting down from 65535 once: 54 ms.
pub(super) struct Pit;

impl Pit {
    /// Its frequency.
    pub(super) const HZ: u64 = 1_193_182;
    const CHANNEL_2: u16 = 0x42;
    const COMMAND: u16 = 0x43;
    const GATE: u16 = 0x61;
    /// Readings per sample; the fastest one is used.
    const READINGS: usize = 5;

    /// Starts the count.
    pub(super) fn start() {
        // Gate on, speaker off.
        cpu::outb(Self::GATE, cpu::inb(Self::GATE) & !2 | 1);
        // Channel 2, low byte then high byte, mode 0 (count down once).
        cpu::outb(Self::COMMAND, 0b1011_0000);
        cpu::outb(Self::CHANNEL_2, 0xff);
        cpu::outb(Self::CHANNEL_2, 0xff);
    }

    /// The current count.
    pub(super) fn read() -> u64 {
        // Latch channel 2, so that both bytes belong to the same count.
        cpu::outb(Self::COMMAND, 0b1000_0000);
        let low = cpu::inb(Self::CHANNEL_2);
        let high = cpu::inb(Self::CHANNEL_2);
        u64::from(u16::from_le_bytes([low, high]))
    }

    /// A count and the time stamp at which it was read.
    pub(super) fn sample() -> (u64, u64) {
        let (mut best, mut width) = ((0, 0), u64::MAX);
        for _ in 0..Self::READINGS {
            let before = cpu::rdtsc();
            let count = Self::read();
            let took = cpu::rdtsc().wrapping_sub(before);
            if took < width {
                (best, width) = ((count, before.wrapping_add(took / 2)), took);
            }
        }
        best
    }
}
