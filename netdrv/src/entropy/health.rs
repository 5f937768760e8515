//! Health tests for entropy sources, applied before use: NIST SP 800-90B §4.4, on bytes.
//!
//! Sources are assumed to have at least [`MIN_ENTROPY_BITS`] bits of entropy per byte, far less than virtio-rng and RDSEED
//! promise. The cut-offs follow from that and from a false alarm rate of one in 2³⁰ samples.

use super::SEED_LEN;

/// Assumed entropy of a byte in bits; determines the cut-offs below.
pub const MIN_ENTROPY_BITS: u32 = 4;
/// Number of samples tested before a source is used at all (§4.3, start-up tests).
pub const STARTUP_SAMPLES: usize = 1024;
/// Repetition count test (§4.4.1): cut-off for consecutive equal bytes, 1 + ⌈30 / 4⌉.
const REPETITIONS: u32 = 9;
/// Adaptive proportion test (§4.4.2): cut-off for bytes of a window equal to its first one, 1 + CRITBINOM(512, 2⁻⁴, 1 − 2⁻³⁰).
const PROPORTION: u32 = 71;
const WINDOW: u32 = 512;

/// Test state of a source. A failed test disables the source for good.
#[derive(Debug, Default)]
pub struct Health {
    last: Option<u8>,
    repetitions: u32,
    first: u8,
    seen: u32,
    equal: u32,
    tested: usize,
    /// Number of samples in `folded`.
    fresh: usize,
    failed: bool,
    /// The next seed, as far as collected.
    folded: [u8; SEED_LEN],
}

impl Health {
    /// A source that has delivered nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last: None,
            repetitions: 0,
            first: 0,
            seen: 0,
            equal: 0,
            tested: 0,
            fresh: 0,
            failed: false,
            folded: [0; SEED_LEN],
        }
    }

    /// Tests samples. Returns a seed made of all samples since the last one, at least [`SEED_LEN`], once the start-up tests have
    /// passed; `None` before that, and after a failure.
    pub fn take(&mut self, samples: &[u8]) -> Option<[u8; SEED_LEN]> {
        for &sample in samples {
            self.test(sample);
            self.folded[self.fresh % SEED_LEN] ^= sample;
            self.fresh += 1;
        }
        self.tested = self.tested.saturating_add(samples.len());
        if self.failed || self.wanted() > 0 {
            return None;
        }
        self.fresh = 0;
        Some(core::mem::take(&mut self.folded))
    }

    /// Number of samples missing for the next seed.
    #[must_use]
    pub fn wanted(&self) -> usize {
        STARTUP_SAMPLES.saturating_sub(self.tested).max(SEED_LEN.saturating_sub(self.fresh))
    }

    /// Whether a test has failed.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failed
    }

    fn test(&mut self, sample: u8) {
        self.repetitions = if self.last == Some(sample) { self.repetitions + 1 } else { 1 };
        self.last = Some(sample);
        if self.seen == 0 {
            (self.first, self.equal) = (sample, 0);
        }
        self.equal += u32::from(sample == self.first);
        self.seen = (self.seen + 1) % WINDOW;
        self.failed |= self.repetitions >= REPETITIONS || self.equal >= PROPORTION;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::{
        ChaCha20Rng,
        rand_core::{Rng, SeedableRng},
    };

    fn noise(seed: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        ChaCha20Rng::from_seed([seed; 32]).fill_bytes(&mut bytes);
        bytes
    }

    #[test]
    fn noise_passes_after_the_start_up_tests() {
        for seed in 0..100 {
            let mut health = Health::new();
            let bytes = noise(seed, 100_000);
            let (start, rest) = bytes.split_at(STARTUP_SAMPLES);
            assert_eq!(health.take(&start[..STARTUP_SAMPLES - 1]), None);
            assert_eq!(health.wanted(), 1);
            assert!(health.take(&start[STARTUP_SAMPLES - 1..]).is_some());
            assert!(rest.chunks(32).all(|chunk| health.take(chunk).is_some()));
            assert!((1..32).all(|n| health.take(&[n]).is_none()) && health.take(&[32]).is_some());
        }
    }

    #[test]
    fn what_repeats_itself_fails_for_good() {
        let mut stuck = Health::new();
        let mut bytes = noise(1, STARTUP_SAMPLES);
        assert!(stuck.take(&bytes).is_some());
        bytes[100..108].fill(7);
        bytes[99] = 1;
        bytes[108] = 2;
        assert!(stuck.take(&bytes).is_some(), "eight in a row may be chance");
        bytes[108] = 7;
        assert_eq!(stuck.take(&bytes), None);
        assert_eq!(stuck.take(&noise(2, 4096)), None);
        assert!(stuck.has_failed());
        for stuck in [[0; 32], [0xff; 32]] {
            let mut health = Health::new();
            assert!((0..100).all(|_| health.take(&stuck).is_none()) && health.has_failed());
        }
    }

    #[test]
    fn what_prefers_a_value_fails() {
        // Every fourth byte is the same, and never next to itself.
        let mut health = Health::new();
        let mut bytes = noise(3, 4096);
        bytes.iter_mut().step_by(4).for_each(|byte| *byte = 0);
        assert_eq!(health.take(&bytes), None);
        assert!(health.has_failed());
    }

    #[test]
    fn a_seed_depends_on_every_sample() {
        let bytes = noise(4, STARTUP_SAMPLES);
        let seed = Health::new().take(&bytes);
        for at in [0, 500, STARTUP_SAMPLES - 1] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(Health::new().take(&other), seed);
        }
    }
}
