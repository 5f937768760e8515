//! Random bytes: a ChaCha20 generator seeded from real entropy sources.
//!
//! Samples of a source must pass [`health`]'s tests first. Seeds from different sources are XORed, so that the result is as good
//! as the best of them if they are independent. A new seed is combined with the generator's key, so a bad one does no harm.
//! Without a real source there is no output: there is no fallback to the time.
//!
//! The generator replaces its key with every request (Bernstein, "Fast-key-erasure random-number generators", 2017): the first
//! bytes of its stream become the next key, so that reading its memory reveals nothing about earlier output.

pub mod health;

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use health::STARTUP_SAMPLES;
use zeroize::Zeroize;

/// Length of a seed in bytes.
pub const SEED_LEN: usize = 32;
/// Amount of output after which [`Generator::wants_seed`], in bytes.
pub const RESEED_AFTER: u64 = 64 * 1024;
/// Time after which [`Generator::wants_seed`], in nanoseconds.
pub const RESEED_AFTER_NS: u64 = 300_000_000_000;

/// The generator has never been seeded from a real source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseeded;

/// State of an entropy source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Not available on this machine.
    #[default]
    Absent,
    /// Working.
    Good,
    /// It violated the protocol or failed a health test, and is no longer used.
    Failed,
}

/// State of the random number generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it was ever seeded from a real source.
    pub seeded: bool,
    /// RDSEED or RDRAND.
    pub processor: Source,
    /// virtio-rng.
    pub device: Source,
    /// Seeds mixed in since the start.
    pub seeds: u64,
    /// Bytes of output since the start.
    pub bytes: u64,
}

/// A ChaCha20 generator that has no output until it is seeded.
#[derive(Debug, Default)]
pub struct Generator {
    key: Option<[u8; SEED_LEN]>,
    since_seed: u64,
    seeded_at_ns: u64,
    seeds: u64,
    bytes: u64,
}

impl Generator {
    /// An unseeded generator.
    #[must_use]
    pub const fn new() -> Self {
        Self { key: None, since_seed: 0, seeded_at_ns: 0, seeds: 0, bytes: 0 }
    }

    /// Mixes in a seed from a real source.
    pub fn add_seed(&mut self, mut seed: [u8; SEED_LEN], now_ns: u64) {
        match &mut self.key {
            Some(key) => key.iter_mut().zip(seed).for_each(|(old, new)| *old ^= new),
            None => self.key = Some(seed),
        }
        seed.zeroize();
        (self.since_seed, self.seeded_at_ns) = (0, now_ns);
        self.seeds += 1;
    }

    /// Whether it has been seeded.
    #[must_use]
    pub fn is_seeded(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a new seed is due.
    #[must_use]
    pub fn wants_seed(&self, now_ns: u64) -> bool {
        self.key.is_none()
            || self.since_seed >= RESEED_AFTER
            || now_ns.saturating_sub(self.seeded_at_ns) >= RESEED_AFTER_NS
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Unseeded> {
        let key = self.key.as_mut().ok_or(Unseeded)?;
        // Erased when dropped (the crate's feature `zeroize`).
        let mut stream = ChaCha20Rng::from_seed(*key);
        stream.fill_bytes(key);
        stream.fill_bytes(bytes);
        self.since_seed = self.since_seed.saturating_add(bytes.len() as u64);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Number of seeds mixed in, and bytes of output.
    #[must_use]
    pub const fn totals(&self) -> (u64, u64) {
        (self.seeds, self.bytes)
    }
}

/// Whether the processor has RDSEED or RDRAND.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn processor_is_source() -> bool {
    processor::has_rdseed() || processor::has_rdrand()
}

/// Fills `samples` with RDSEED, or RDRAND if RDSEED is missing. False if both are missing or fail.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn processor_samples(samples: &mut [u8; STARTUP_SAMPLES]) -> bool {
    processor::fill(samples)
}

#[cfg(target_arch = "x86_64")]
mod processor {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step};

    /// Attempts per word: the instructions may find their buffer empty (Intel recommends 10 for RDRAND, more for RDSEED).
    const ATTEMPTS: usize = 100;

    pub(super) fn has_rdseed() -> bool {
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & 1 << 18 != 0
    }

    pub(super) fn has_rdrand() -> bool {
        __cpuid(1).ecx & 1 << 30 != 0
    }

    pub(super) fn fill(samples: &mut [u8]) -> bool {
        // SAFETY: CPUID says that the processor has the instruction.
        (has_rdseed() && words(samples, |word| unsafe { rdseed(word) }))
            // SAFETY: as above.
            || (has_rdrand() && words(samples, |word| unsafe { rdrand(word) }))
    }

    #[target_feature(enable = "rdseed")]
    unsafe fn rdseed(word: &mut u64) -> i32 {
        _rdseed64_step(word)
    }

    #[target_feature(enable = "rdrand")]
    unsafe fn rdrand(word: &mut u64) -> i32 {
        _rdrand64_step(word)
    }

    fn words(samples: &mut [u8], mut step: impl FnMut(&mut u64) -> i32) -> bool {
        samples.chunks_exact_mut(8).all(|chunk| {
            let mut word = 0;
            let delivered = (0..ATTEMPTS).any(|_| {
                core::hint::spin_loop();
                step(&mut word) == 1
            });
            chunk.copy_from_slice(&word.to_le_bytes());
            delivered
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_without_a_seed() {
        let mut generator = Generator::new();
        assert_eq!(generator.fill(&mut [0; 8]), Err(Unseeded));
        assert!(generator.wants_seed(0));
    }

    #[test]
    fn reseeding_changes_the_stream_and_keeps_what_was_there() {
        let draw = |seeds: &[[u8; 32]]| {
            let mut generator = Generator::new();
            seeds.iter().for_each(|seed| generator.add_seed(*seed, 0));
            let mut out = [0; 32];
            generator.fill(&mut out).expect("seeded");
            out
        };
        assert_eq!(draw(&[[1; 32]]), draw(&[[1; 32]]));
        assert_ne!(draw(&[[1; 32]]), draw(&[[1; 32], [2; 32]]));
        // A known second seed does not make the output predictable: it still depends on the first.
        assert_ne!(draw(&[[1; 32], [0; 32]]), draw(&[[3; 32], [0; 32]]));
    }

    #[test]
    fn the_key_is_replaced_by_every_request() {
        let mut generator = Generator::new();
        generator.add_seed([7; 32], 0);
        let (mut first, mut second) = ([0; 32], [0; 32]);
        let before = generator.key;
        generator.fill(&mut first).expect("seeded");
        let between = generator.key;
        generator.fill(&mut second).expect("seeded");
        assert!(before != between && between != generator.key && first != second);
        // The current memory does not reveal earlier output.
        for key in [between, generator.key] {
            let mut replay = [0; 64];
            ChaCha20Rng::from_seed(key.expect("seeded")).fill_bytes(&mut replay);
            assert!(!replay.windows(32).any(|window| window == first));
        }
        assert_eq!(generator.totals(), (1, 64));
    }

    #[test]
    fn asks_for_a_seed_after_64_kib_and_after_five_minutes() {
        let mut generator = Generator::new();
        generator.add_seed([7; 32], 1);
        generator.fill(&mut [0; 65_535]).expect("seeded");
        assert!(!generator.wants_seed(RESEED_AFTER_NS));
        assert!(generator.wants_seed(RESEED_AFTER_NS + 1));
        generator.fill(&mut [0; 1]).expect("seeded");
        assert!(generator.wants_seed(1));
    }

    #[test]
    fn the_processor_passes_its_tests() {
        let (mut a, mut b) = ([0; STARTUP_SAMPLES], [0; STARTUP_SAMPLES]);
        if processor_samples(&mut a) && processor_samples(&mut b) {
            let seed = |samples: &[u8]| health::Health::new().take(samples);
            assert!(processor_is_source() && seed(&a).is_some() && seed(&a) != seed(&b));
        }
    }
}
