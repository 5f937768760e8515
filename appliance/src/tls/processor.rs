//! Processor features that *ring* needs. It works on all 64-bit processors, but without these three, AES is
//! bit-sliced software and ten times slower. Where present, it also uses AVX, AVX2, VAES, VPCLMULQDQ, MOVBE,
//! BMI1, BMI2, ADX and SHA.

use alloc::vec::Vec;

/// Names of the features, and their bits in ECX of CPUID leaf 1.
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
    fn missing_features_are_named() {
        assert_eq!(missing(u32::MAX), [""; 0]);
        assert_eq!(missing(!(1 << 25)), ["AES"]);
        assert_eq!(missing(0), ["AES", "PCLMULQDQ", "SSSE3"]);
    }
}
