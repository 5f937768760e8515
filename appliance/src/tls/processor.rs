//! What *ring* wants of the processor. It works on every one of 64 bits; without these three AES is bit-sliced software, ten
//! times slower. What it uses beyond them where it is there: AVX, AVX2, VAES, VPCLMULQDQ, MOVBE, BMI1, BMI2, ADX, SHA.

use alloc::vec::Vec;

/// Names of the instructions that matter, and their bits in CPUID's leaf 1, ECX.
const FEATURES: [(&str, u32); 3] = [("AES", 1 << 25), ("PCLMULQDQ", 1 << 1), ("SSSE3", 1 << 9)];

/// Which of AES, PCLMULQDQ and SSSE3 the processor lacks.
pub fn missing_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let present = core::arch::x86_64::__cpuid(1).ecx;
    #[cfg(not(target_arch = "x86_64"))]
    let present = u32::MAX;
    missing(present)
}

fn missing(present: u32) -> Vec<&'static str> {
    FEATURES.iter().filter(|(_, bit)| present & bit == 0).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(u32::MAX), [""; 0]);
        assert_eq!(missing(!(1 << 25)), ["AES"]);
        assert_eq!(missing(0), ["AES", "PCLMULQDQ", "SSSE3"]);
    }
}
