//! The same commit gives the same bytes from another checkout with another target directory. These tests compile from scratch,
//! which takes minutes, so they run only on request:
//! `cargo test -p weir-image --test reproducible -- --ignored [worker|appliance|kernels]`.
//! `tests/run` asks for `worker`, the smallest program, which is built by the same code with the same flags as the appliance.

use image::kernel::Kernel;
use image::toolchain::{Llvm, Toolchain};
use image::{Image, Options, Program};
use std::path::Path;

fn progress(line: &str) {
    eprintln!("{line}");
}

/// Options for a copy of the workspace in `dir`, whose name has a space.
fn elsewhere(options: &Options, dir: &Path) -> Options {
    let workspace = dir.join("a checkout");
    copy_tree(&options.workspace, &workspace);
    Options { workspace, target_dir: dir.join("target"), out_dir: dir.join("images"), kernel: None }
}

fn kernel(options: &Options) -> Kernel {
    let toolchain = Toolchain::find().expect("a toolchain");
    let llvm = Llvm::find().expect("LLVM's tools");
    Kernel::provide(options, &toolchain, &llvm, &progress).expect("the kernel builds")
}

/// Builds a program here and in a copy of the workspace in `dir`. The copy uses this one's kernel: `kernels` compares those.
fn twice(dir: &Path, build: impl Fn(&Options) -> Image) -> [Image; 2] {
    let options = Options::new().expect("the workspace");
    let other = elsewhere(&options, dir);
    kernel(&options);
    std::fs::create_dir_all(other.target_dir.join("kernel")).expect("directory");
    for name in ["libhermit-full.a", "rusty-loader-x86_64", "stamp"] {
        let kernel = |options: &Options| options.target_dir.join("kernel").join(name);
        std::fs::copy(kernel(&options), kernel(&other)).expect("file");
    }
    [build(&options), build(&other)]
}

fn assert_same([here, there]: &[Image; 2]) {
    assert_eq!(here.loader.sha256, there.loader.sha256);
    assert_eq!(here.elf.sha256, there.elf.sha256, "{} and {}", here.elf, there.elf);
    assert!(here.fixed_len() <= image::FIXED_LEN_MAX, "{here:?}");
}

#[test]
#[ignore = "compiles a program from nothing"]
fn worker() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let build =
        |options: &Options| image::build_program(Program::Worker, options, &progress).expect("it builds");
    assert_same(&twice(dir.path(), build));
}

#[test]
#[ignore = "compiles a program from nothing"]
fn appliance() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = dir.path().join("weir.toml");
    std::fs::create_dir(dir.path().join("www")).expect("directory");
    std::fs::write(dir.path().join("www/index.html"), "<p>weir</p>\n").expect("file");
    std::fs::write(
        &config,
        "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\n",
    )
    .expect("file");
    let config = image::check(&config).expect("the configuration is right");
    assert_same(&twice(dir.path(), |options| image::build(&config, options, &progress).expect("it builds")));
}

#[test]
#[ignore = "builds the kernel from nothing"]
fn kernels() {
    let options = Options::new().expect("the workspace");
    let dir = tempfile::tempdir().expect("temporary directory");
    let (here, there) = (kernel(&options), kernel(&elsewhere(&options, dir.path())));
    let read = |path: &Path| std::fs::read(path).expect("file");
    assert!(read(&here.archive) == read(&there.archive), "{} and another", here.archive.display());
    assert!(read(&here.loader) == read(&there.loader), "{} and another", here.loader.display());
}

/// Everything except build output and history.
fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directory");
    for entry in std::fs::read_dir(from).expect("directory") {
        let entry = entry.expect("entry");
        let (name, path) = (entry.file_name(), entry.path());
        match path.is_dir() {
            true if name == "target" || name == ".git" => {}
            true => copy_tree(&path, &to.join(name)),
            false => drop(std::fs::copy(&path, to.join(name)).expect("file")),
        }
    }
}
