//! Builds a Hermit program of this workspace and links it with the kernel.

use crate::kernel::{Kernel, LOADERS, remap};
use crate::linkmap::Parts;
use crate::toolchain::{Llvm, Toolchain};
use crate::{Options, Program, Progress, patched, step};
use anyhow::{Context, Result};
use std::path::PathBuf;

const TARGET: &str = "x86_64-unknown-hermit";
/// The cargo profile for images.
const PROFILE: &str = "image";

impl Program {
    /// Its package in the workspace.
    pub fn package(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Worker => "weir-worker",
        }
    }

    /// Its binary, and the name of the image built from it.
    pub fn binary(self) -> &'static str {
        match self {
            Self::Appliance => "weir-appliance",
            Self::Worker => "weir-worker",
        }
    }

    /// File name of its loader. The appliance has its own, because it contains the memory check.
    pub(crate) fn loader(self) -> &'static str {
        match self {
            Self::Appliance => "weir-appliance.loader",
            Self::Worker => LOADERS[0],
        }
    }
}

/// A linked program without a bundle.
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    pub(crate) elf: Vec<u8>,
    pub(crate) loader: PathBuf,
    /// The kernel's name and version.
    pub(crate) kernel: String,
    /// Sizes in `elf`.
    pub(crate) parts: Parts,
    /// The compiler's version.
    pub(crate) rustc: String,
}

/// Builds `program`; cargo decides what is out of date.
pub(crate) fn link(program: Program, options: &Options, progress: Progress) -> Result<Linked> {
    let (toolchain, llvm) = (Toolchain::find()?, Llvm::find()?);
    let kernel = Kernel::provide(options, &toolchain, &llvm, progress)?;
    progress(&format!("building {}", program.binary()));
    let mut flags = remap(options, &toolchain);
    // Cargo leaves flags with remapped paths out of the crates' hashes, so these paths do not break reproducibility.
    flags.push(format!("-Clinker={}", llvm.lld.display()));
    flags.push("-Clinker-flavor=ld.lld".into());
    flags.push(format!("-Clink-arg={}", kernel.archive.display()));
    let target_dir = options.target_dir.join("programs");
    // The linker map, for the sizes of the parts. It is an argument of the program's own crate only: among the flags above, it
    // would differ between programs, and each would rebuild what the other has built.
    let map = target_dir.join(format!("{}.map", program.binary()));
    let patched = patched::provide(options, &toolchain)?;
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(&options.workspace)
        .args(["--config", &format!("paths={}", serde_json::to_string(&patched)?)])
        .args(["rustc", "--locked", "-p", program.package(), "--bin", program.binary()])
        .args(["--profile", PROFILE, "--target", TARGET])
        .args(["-Zbuild-std=core,alloc,compiler_builtins", "-Zbuild-std-features=compiler-builtins-mem"])
        .arg("--target-dir")
        .arg(&target_dir)
        .args(["--", &format!("-Clink-arg=-Map={}", map.display())])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let log = target_dir.join(format!("{}.log", program.binary()));
    step::run(&mut cargo, &format!("building {}", program.binary()), &log)?;
    let path = target_dir.join(TARGET).join(PROFILE).join(program.binary());
    let elf = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let map = std::fs::read_to_string(&map).with_context(|| format!("reading {}", map.display()))?;
    Ok(Linked {
        elf,
        loader: kernel.loader,
        kernel: kernel.name,
        parts: Parts::of(&map),
        rustc: toolchain.release().to_owned(),
    })
}
