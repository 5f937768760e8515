//! The machines under test, booted alike: q35, one processor under TCG, virtio-net over the tap interface.

use crate::Options;
use anyhow::{Context, Result, ensure};
use image::cert::DevCertificate;
use image::{Image, Program};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::Child;
use weir::host::accel::Accel;
use weir::host::child::Launcher;
use weir::host::programs::Programs;
use weir::vm::net::{Net, parse_address};
use weir::vm::serial::Serial;
use weir::vm::{Host, Spec, Vm};
use weir_tests::net::{GUEST, TAP};
use weir_tests::process::{Process, descendants};
use weir_tests::raw::Connection;

/// The server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Weir,
    Nginx,
}

/// Memory of each under load, in MiB.
const MEMORY_MIB: u32 = 512;

/// Images and programs.
pub(crate) struct Lab {
    pub(crate) host: Host,
    pub(crate) appliance: Image,
    pub(crate) worker: Image,
    pub(crate) directory: TempDir,
    /// CA of both servers' certificates.
    pub(crate) authority: PathBuf,
    nginx: PathBuf,
    nginx_initrd: PathBuf,
}

/// A booted machine. Dropping it kills it.
pub(crate) struct Machine {
    /// When QEMU was started.
    pub(crate) began: Instant,
    pub(crate) qemu: Process,
    _vm: Running,
}

#[expect(dead_code, reason = "held until the machine is dropped")]
enum Running {
    Weir(Box<Vm>),
    Nginx(Child),
}

impl Lab {
    /// Builds the demo's images with the address of the tap's other end.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let mut build = image::Options::new()?;
        let directory = tempfile::Builder::new().prefix("weir-bench-").tempdir()?;
        build.out_dir = directory.path().join("images");
        let mut config = image::check(&build.workspace.join(&options.config))?;
        config.address = Some(parse_address(&format!("{GUEST}/24"))?);
        let progress = |line: &str| eprintln!("[image] {line}");
        // Matches `dev` in the demo's configuration.
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = image::cert::dev(&build.target_dir.join("dev"), &names)?;
        Ok(Self {
            nginx_initrd: with_certificate(&options.nginx.join("initrd"), &certificate, directory.path())?,
            authority: certificate.ca,
            host: Host {
                launcher: Launcher::through(&options.weir),
                programs: Programs::find(&build.workspace)?,
            },
            appliance: image::build(&config, &build, &progress)?,
            worker: image::build_program(Program::Worker, &build, &progress)?,
            directory,
            nginx: options.nginx.clone(),
        })
    }

    /// Boots a server for load.
    pub(crate) async fn boot(&self, kind: Kind) -> Result<Machine> {
        match kind {
            Kind::Weir => self.boot_weir(MEMORY_MIB).await,
            Kind::Nginx => self.boot_nginx(),
        }
    }

    /// Boots Weir with this much memory.
    pub(crate) async fn boot_weir(&self, memory_mib: u32) -> Result<Machine> {
        let net = Net::tap(TAP);
        let spec = self.spec("appliance", &self.appliance, memory_mib, Some(net));
        let vsock = self.vsock();
        let began = Instant::now();
        let vm = Vm::start(&spec, &self.host, self.directory.path(), &vsock).await?;
        Ok(Machine { began, qemu: find_qemu()?, _vm: Running::Weir(Box::new(vm)) })
    }

    /// Weir's vsock.
    pub(crate) fn vsock(&self) -> PathBuf {
        self.directory.path().join("appliance.vsock")
    }

    /// A VM's description.
    pub(crate) fn spec(&self, name: &str, image: &Image, memory_mib: u32, net: Option<Net>) -> Spec {
        Spec {
            name: name.into(),
            kernel: image.loader.path.clone(),
            initrd: image.elf.path.clone(),
            append: None,
            memory_mib,
            cid: 3,
            accel: Accel::Tcg,
            net,
            more: Vec::new(),
        }
    }

    fn boot_nginx(&self) -> Result<Machine> {
        let (kernel, initrd) = (self.nginx.join("vmlinuz"), &self.nginx_initrd);
        let netdev = Net::tap(TAP).netdev();
        let memory = format!("{MEMORY_MIB}M");
        let append =
            "console=ttyS0 quiet panic=-1 tsc=reliable clocksource=tsc no_timer_check mitigations=off";
        let mut args: Vec<&std::ffi::OsStr> = Vec::new();
        for word in [
            "-name",
            "nginx",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-M",
            "q35",
        ] {
            args.push(word.as_ref());
        }
        for word in [
            "-m", &memory, "-smp", "1", "-accel", "tcg", "-cpu", "max", "-append", append, "-netdev", &netdev,
        ] {
            args.push(word.as_ref());
        }
        for word in ["-chardev", "stdio,id=serial0,signal=off", "-serial", "chardev:serial0", "-device"] {
            args.push(word.as_ref());
        }
        args.push("virtio-net-pci,netdev=net0,romfile=".as_ref());
        args.extend(["-kernel".as_ref(), kernel.as_os_str(), "-initrd".as_ref(), initrd.as_os_str()]);
        let began = Instant::now();
        let mut child = self.host.launcher.spawn(&self.host.programs.qemu, args)?;
        let serial = Serial::new("nginx");
        serial.follow(child.stdout.take(), "")?;
        serial.follow(child.stderr.take(), "qemu")?;
        Ok(Machine { began, qemu: find_qemu()?, _vm: Running::Nginx(child) })
    }
}

impl Machine {
    /// Waits for the first 200 and returns the time since QEMU's start in seconds.
    pub(crate) fn first_200(&self, patience: Duration) -> Result<f64> {
        loop {
            // New connections each time: a SYN that comes too early is only repeated after a second.
            if get("/128", Duration::from_millis(60)).is_ok_and(|len| len == 128) {
                return Ok(self.began.elapsed().as_secs_f64());
            }
            ensure!(self.began.elapsed() < patience, "no answer within {patience:?}");
            ensure!(self.qemu.is_there(), "the machine ended");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Binds all of QEMU's threads to one processor.
    pub(crate) fn pin(&self, cpu: usize) -> Result<()> {
        let status = Command::new("taskset")
            .args(["-a", "-p", "-c", &cpu.to_string(), &self.qemu.pid.to_string()])
            .stdout(std::process::Stdio::null())
            .status()?;
        ensure!(status.success(), "taskset: {status}");
        Ok(())
    }

    /// QEMU's share of one processor over this time, in percent.
    pub(crate) fn cpu_share(&self, over: Duration) -> Result<f64> {
        let ticks = || self.qemu.cpu_ticks().context("the machine ended");
        let before = ticks()?;
        std::thread::sleep(over);
        // A tick is 1/100 s.
        Ok((ticks()? - before) as f64 / over.as_secs_f64())
    }
}

/// A copy of an initrd with `/etc/tls.pem` and `/etc/tls.key`, in an additional archive that the kernel unpacks after the others.
fn with_certificate(initrd: &Path, certificate: &DevCertificate, dir: &Path) -> Result<PathBuf> {
    let tree = dir.join("nginx");
    std::fs::create_dir_all(tree.join("etc"))?;
    std::fs::copy(&certificate.chain, tree.join("etc/tls.pem"))?;
    std::fs::copy(&certificate.key, tree.join("etc/tls.key"))?;
    let (names, made) = (dir.join("nginx.names"), dir.join("nginx.initrd"));
    std::fs::write(&names, "etc\netc/tls.pem\netc/tls.key\n")?;
    std::fs::copy(initrd, &made).with_context(|| format!("copying {}", initrd.display()))?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--quiet", "-o", "-H", "newc", "--owner", "0:0"]).current_dir(&tree);
    cpio.stdin(std::fs::File::open(&names)?).stdout(std::fs::OpenOptions::new().append(true).open(&made)?);
    let status = cpio.status().context("starting cpio")?;
    ensure!(status.success(), "cpio: {status}");
    Ok(made)
}

/// Fetches a path; returns the length of the content of a 200 response.
pub(crate) fn get(path: &str, patience: Duration) -> Result<usize> {
    let mut connection = Connection::open(SocketAddr::new(GUEST.parse()?, 80), patience)?;
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: {GUEST}\r\nConnection: close\r\n\r\n"))?;
    let response = connection.response()?.context("no response")?;
    ensure!(response.status == 200, "status {}", response.status);
    Ok(response.content.len())
}

/// The QEMU process just started. The launcher becomes QEMU a moment after its own start.
fn find_qemu() -> Result<Process> {
    let own = i32::try_from(std::process::id())?;
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        let is_qemu = |p: &Process| p.command.contains("qemu-system") && !p.command.contains(" tethered ");
        if let Some(qemu) = descendants(own).into_iter().find(is_qemu) {
            return Ok(qemu);
        }
        ensure!(Instant::now() < limit, "QEMU does not start");
        std::thread::sleep(Duration::from_millis(1));
    }
}
