//! QEMU's command line and exit status.

use super::Spec;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// The arguments for a VM whose vsock daemon listens at `control`.
pub fn args(spec: &Spec, control: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    add(&["-name", &spec.name, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    add(&["-M", "q35,memory-backend=mem0", "-m", &format!("{}M", spec.memory_mib), "-smp", "1"]);
    // Shared, because the daemon accesses the queues in the VM's memory.
    add(&["-object", &format!("memory-backend-memfd,id=mem0,size={}M,share=on", spec.memory_mib)]);
    add(&spec.accel.qemu_args());
    add(&["-kernel", &spec.kernel.to_string_lossy()]);
    match &spec.append {
        Some(append) => add(&["-initrd", &spec.initrd.to_string_lossy(), "-append", append]),
        // For a multiboot loader this is a list of modules.
        None => add(&["-initrd", &escaped(&spec.initrd)]),
    }
    add(&["-chardev", "stdio,id=serial0,signal=off", "-serial", "chardev:serial0"]);
    add(&["-chardev", &format!("socket,id=vsock0,path={}", escaped(control))]);
    add(&["-device", "vhost-user-vsock-pci,chardev=vsock0"]);
    add(&["-device", "virtio-rng-pci", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    if let Some(net) = &spec.net {
        // An empty romfile= keeps the firmware from booting from the network card's ROM.
        add(&["-netdev", &net.netdev(), "-device", "virtio-net-pci,netdev=net0,romfile="]);
    }
    args.extend(spec.more.iter().map(OsString::from));
    args
}

/// Doubles commas, as QEMU's option lists require.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// What QEMU's exit status says about the VM.
pub fn describe_exit(status: io::Result<ExitStatus>) -> String {
    let status = match status {
        Ok(status) => status,
        Err(error) => return format!("waiting for QEMU: {error}"),
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => "the machine powered itself off".into(),
        (Some(3), _) => "the program ended with an error".into(),
        (Some(5), _) => "the program panicked".into(),
        (Some(code), _) => format!("QEMU ended with status {code}"),
        (None, Some(signal)) => format!("QEMU was killed by signal {signal}"),
        (None, None) => "QEMU ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::accel::Accel;

    fn spec(append: Option<&str>) -> Spec {
        Spec {
            name: "test".into(),
            kernel: "/a,b/kernel".into(),
            initrd: "/a,b/initrd".into(),
            append: append.map(str::to_owned),
            memory_mib: 32,
            cid: 4,
            accel: Accel::Tcg,
            net: None,
            more: Vec::new(),
        }
    }

    fn after(args: &[OsString], option: &str) -> Option<String> {
        let at = args.iter().position(|arg| arg == option)?;
        Some(args.get(at + 1)?.to_string_lossy().into_owned())
    }

    #[test]
    fn commas_in_paths_are_doubled_only_where_qemu_reads_a_list() {
        let hermit = args(&spec(None), Path::new("/c,d"));
        assert_eq!(after(&hermit, "-kernel").as_deref(), Some("/a,b/kernel"));
        assert_eq!(after(&hermit, "-initrd").as_deref(), Some("/a,,b/initrd"));
        assert_eq!(after(&hermit, "-append"), None);
        assert!(hermit.iter().any(|arg| arg == "socket,id=vsock0,path=/c,,d"), "{hermit:?}");
        let linux = args(&spec(Some("quiet")), Path::new("/c,d"));
        assert_eq!(after(&linux, "-initrd").as_deref(), Some("/a,b/initrd"));
        assert_eq!(after(&linux, "-append").as_deref(), Some("quiet"));
    }
}
