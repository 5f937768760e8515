//! Choice of QEMU's accelerator.

use std::path::Path;

/// `--accel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// KVM if the CPU has hardware virtualisation, otherwise TCG.
    Auto,
    /// QEMU's own emulation.
    Tcg,
    /// The host kernel's hypervisor.
    Kvm,
}

impl Accel {
    /// QEMU's arguments. `Auto` inspects this machine: with /dev/kvm, but neither `vmx` nor `svm` in /proc/cpuinfo, KVM emulates
    /// instructions, far slower than TCG.
    pub fn qemu_args(self) -> [&'static str; 4] {
        match self
            .resolve(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default(), Path::new("/dev/kvm"))
        {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            _ => ["-accel", "tcg", "-cpu", "max"],
        }
    }

    fn resolve(self, cpuinfo: &str, kvm: &Path) -> Self {
        let hardware = || {
            cpuinfo
                .lines()
                .filter(|line| line.starts_with("flags"))
                .any(|line| line.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
        };
        match self {
            Self::Auto if kvm.exists() && hardware() => Self::Kvm,
            Self::Auto => Self::Tcg,
            chosen => chosen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_kvm_only_with_hardware_virtualisation() {
        let (there, missing) = (Path::new("/dev/null"), Path::new("/dev/no-such-device"));
        assert_eq!(Accel::Auto.resolve("flags\t\t: fpu vmx sse", there), Accel::Kvm);
        assert_eq!(Accel::Auto.resolve("flags : svm", missing), Accel::Tcg);
        assert_eq!(Accel::Auto.resolve("flags : vmxnet\nmodel name : svm", there), Accel::Tcg);
        assert_eq!(Accel::Kvm.resolve("", missing), Accel::Kvm);
    }
}
