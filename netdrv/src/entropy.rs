//! Random bytes: a ChaCha20 generator over the real sources there are.
//!
//! Seeds of different sources are combined by exclusive or, so that the result is as good as the best of them as
//! long as they are independent. A new seed is combined with the generator's own output, so that a bad one does
//! no harm. Without a real source there are no bytes: nothing here falls back on the time.

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

/// Bytes of a seed.
pub const SEED_LEN: usize = 32;
/// After this many bytes of output [`Generator::wants_seed`].
pub const RESEED_AFTER: u64 = 64 * 1024;

/// The generator has never been seeded from a real source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseeded;

/// A ChaCha20 generator that gives nothing before it has been seeded.
#[derive(Debug, Default)]
pub struct Generator {
    inner: Option<ChaCha20Rng>,
    since_seed: u64,
}

impl Generator {
    /// An unseeded generator.
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: None, since_seed: 0 }
    }

    /// Mixes in a seed from a real source.
    pub fn add_seed(&mut self, seed: &[u8; SEED_LEN]) {
        let mut mixed = *seed;
        if let Some(inner) = &mut self.inner {
            let mut old = [0; SEED_LEN];
            inner.fill_bytes(&mut old);
            mixed.iter_mut().zip(old).for_each(|(new, old)| *new ^= old);
        }
        self.inner = Some(ChaCha20Rng::from_seed(mixed));
        self.since_seed = 0;
    }

    /// Whether there is a seed.
    #[must_use]
    pub fn is_seeded(&self) -> bool {
        self.inner.is_some()
    }

    /// Whether it is time for a new seed.
    #[must_use]
    pub fn wants_seed(&self) -> bool {
        self.inner.is_none() || self.since_seed >= RESEED_AFTER
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Unseeded> {
        let inner = self.inner.as_mut().ok_or(Unseeded)?;
        inner.fill_bytes(bytes);
        self.since_seed = self.since_seed.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// A seed from the processor: RDSEED, or RDRAND where there is no RDSEED. `None` if it has neither, or does not
/// deliver, or delivers the same value over and over (a known fault of some processors).
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn processor_seed() -> Option<[u8; SEED_LEN]> {
    processor::seed()
}

#[cfg(target_arch = "x86_64")]
mod processor {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step};

    /// Attempts per word: the instructions may find their buffer empty (Intel's guide: 10 for RDRAND, more for
    /// RDSEED).
    const ATTEMPTS: usize = 100;

    pub(super) fn seed() -> Option<[u8; super::SEED_LEN]> {
        let has_rdseed = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & 1 << 18 != 0;
        let has_rdrand = __cpuid(1).ecx & 1 << 30 != 0;
        let from_rdseed = if has_rdseed {
            // SAFETY: CPUID says that the processor has the instruction.
            words(|word| unsafe { rdseed(word) })
        } else {
            None
        };
        from_rdseed.or_else(|| {
            if has_rdrand {
                // SAFETY: as above.
                words(|word| unsafe { rdrand(word) })
            } else {
                None
            }
        })
    }

    #[target_feature(enable = "rdseed")]
    unsafe fn rdseed(word: &mut u64) -> i32 {
        _rdseed64_step(word)
    }

    #[target_feature(enable = "rdrand")]
    unsafe fn rdrand(word: &mut u64) -> i32 {
        _rdrand64_step(word)
    }

    fn words(mut step: impl FnMut(&mut u64) -> i32) -> Option<[u8; super::SEED_LEN]> {
        let mut seed = [0; super::SEED_LEN];
        let mut last = None;
        for chunk in seed.chunks_exact_mut(8) {
            let mut word = 0;
            let delivered = (0..ATTEMPTS).any(|_| {
                core::hint::spin_loop();
                step(&mut word) == 1
            });
            if !delivered || last == Some(word) {
                return None;
            }
            last = Some(word);
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Some(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_without_a_seed() {
        let mut generator = Generator::new();
        assert_eq!(generator.fill(&mut [0; 8]), Err(Unseeded));
        assert!(generator.wants_seed());
    }

    #[test]
    fn reseeding_changes_the_stream_and_keeps_what_was_there() {
        let draw = |seeds: &[[u8; 32]]| {
            let mut generator = Generator::new();
            seeds.iter().for_each(|seed| generator.add_seed(seed));
            let mut out = [0; 32];
            generator.fill(&mut out).expect("seeded");
            out
        };
        assert_eq!(draw(&[[1; 32]]), draw(&[[1; 32]]));
        assert_ne!(draw(&[[1; 32]]), draw(&[[1; 32], [2; 32]]));
        // A known second seed does not make the output known: it still depends on the first.
        assert_ne!(draw(&[[1; 32], [0; 32]]), draw(&[[3; 32], [0; 32]]));
    }

    #[test]
    fn asks_for_a_seed_after_64_kib() {
        let mut generator = Generator::new();
        generator.add_seed(&[7; 32]);
        generator.fill(&mut [0; 65_535]).expect("seeded");
        assert!(!generator.wants_seed());
        generator.fill(&mut [0; 1]).expect("seeded");
        assert!(generator.wants_seed());
    }

    #[test]
    fn processor_seeds_differ() {
        if let (Some(a), Some(b)) = (processor_seed(), processor_seed()) {
            assert_ne!(a, b);
        }
    }
}
