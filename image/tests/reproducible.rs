//! The same commit gives the same bytes from another checkout with another target directory. Builds kernel and
//! programs from nothing, which takes minutes, so it runs only on request:
//! `cargo test -p weir-image --test reproducible -- --ignored`.

use image::{Image, Options, Program};
use std::path::Path;

#[test]
#[ignore = "builds the kernel and both programs from nothing"]
fn another_checkout_gives_the_same_bytes() {
    let options = Options::new().expect("the workspace");
    let elsewhere = tempfile::tempdir().expect("temporary directory");
    let copy = elsewhere.path().join("a checkout with spaces");
    copy_tree(&options.workspace, &copy);
    let other = Options {
        workspace: copy,
        target_dir: elsewhere.path().join("target"),
        out_dir: elsewhere.path().join("images"),
        kernel: None,
    };
    let config = elsewhere.path().join("weir.toml");
    std::fs::create_dir(elsewhere.path().join("www")).expect("directory");
    std::fs::write(elsewhere.path().join("www/index.html"), "<p>weir</p>\n").expect("file");
    std::fs::write(
        &config,
        "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\nfiles = \"www\"\n",
    )
    .expect("file");
    let both = |options: &Options| -> [Image; 2] {
        let progress = |line: &str| eprintln!("{line}");
        let worker = image::build_program(Program::Worker, options, &progress).expect("the worker builds");
        let config = image::check(&config).expect("the configuration is right");
        [worker, image::build(&config, options, &progress).expect("the appliance builds")]
    };
    for (here, there) in both(&options).iter().zip(&both(&other)) {
        assert_eq!(here.loader.sha256, there.loader.sha256);
        assert_eq!(here.elf.sha256, there.elf.sha256, "{} and {}", here.elf, there.elf);
        assert!(here.fixed_len() <= image::FIXED_LEN_MAX, "{here:?}");
    }
}

/// Everything but build output and history.
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
