//! Everything `weir` writes is accessible only to its owner, whatever the umask, and it neither overwrites nor removes files of
//! others.

use crate::bench::vms;
use crate::lifecycle::START;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use weir_tests::process::survivors;
use weir_tests::weir::{Weir, command, program};
use weir_tests::{PATIENCE, free_port};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("privacy::nobody_else_can_open_what_is_written", nobody_else),
    ("privacy::a_killed_run_leaves_nothing_to_the_next", killed),
    ("privacy::nothing_of_others_is_overwritten", nothing_of_others),
];

/// A configuration with a private key in it, logs, and a worker VM.
fn config(directory: &Path) -> Result<PathBuf> {
    let www = directory.join("www");
    std::fs::create_dir_all(&www)?;
    std::fs::write(www.join("index.html"), "static\n")?;
    let made = image::cert::dev(&directory.join("dev"), &["localhost".to_owned()])?;
    let path = directory.join("weir.toml");
    let text = format!(
        "[log]\ndirectory = \"logs\"\n[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"https://localhost:443/\"\n\
         files = \"www\"\n[[site.prefix]]\nurl = \"http://*:80/\"\npool = \"app\"\n\
         [[site.certificate]]\nchain = {:?}\nkey = {:?}\n[[pool]]\nname = \"app\"\n{}",
        made.chain,
        made.key,
        vms("min_workers = 1\n", 1)
    );
    std::fs::write(&path, text)?;
    Ok(path)
}

/// `weir ARGS` with a umask of 0 and this directory for temporary files.
fn open_to_all(temporary: &Path, args: &[&OsStr]) -> Command {
    let mut weir = command("sh");
    weir.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(program()).args(args).env("TMPDIR", temporary);
    weir
}

fn up(temporary: &Path, config: &Path, more: &[&OsStr]) -> Result<Weir> {
    let (http, https) = (free_port()?.to_string(), free_port()?.to_string());
    let args = ["up".as_ref(), config.as_os_str()];
    let ports = ["--http-port".as_ref(), OsStr::new(&http), "--https-port".as_ref(), OsStr::new(&https)];
    let args: Vec<_> = args.into_iter().chain(ports).chain(more.iter().copied()).collect();
    let mut weir = Weir::start_command(&mut open_to_all(temporary, &args))?;
    weir.ready(START)?;
    Ok(weir)
}

/// Everything below a directory, including itself, and the number of sockets among it.
fn below(path: &Path) -> Result<(Vec<PathBuf>, usize)> {
    let (mut found, mut sockets) = (vec![path.to_owned()], 0);
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        let Ok(there) = std::fs::symlink_metadata(&path) else { continue };
        sockets += usize::from(there.file_type().is_socket());
        if there.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                found.push(entry?.path());
            }
        }
    }
    Ok((found, sockets))
}

fn others_can_open(paths: &[PathBuf]) -> Vec<String> {
    let open = |path: &PathBuf| {
        let mode = std::fs::symlink_metadata(path).ok()?.permissions().mode();
        (mode & 0o077 != 0).then(|| format!("{} {:04o}", path.display(), mode & 0o7777))
    };
    paths.iter().filter_map(open).collect()
}

fn output(temporary: &Path, args: &[&OsStr]) -> Result<Output> {
    // A command that should fail might serve forever instead.
    let mut weir = command("timeout");
    weir.args(["120", "sh", "-c", "umask 0; exec \"$@\"", "sh"]).arg(program()).args(args);
    weir.env("TMPDIR", temporary).output().context("starting weir")
}

fn nobody_else() -> Result<()> {
    let directory = TempDir::new()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("tmp"))?;
    let config = config(directory.path())?;
    let (run, control) = (path("run"), path("control"));
    let more = ["--runtime-dir".as_ref(), run.as_os_str(), "--control".as_ref(), control.as_os_str()];
    let weir = up(&path("tmp"), &config, &more)?;
    let (mut written, sockets) = below(&run)?;
    ensure!(sockets >= 4, "vsocks and relays of two machines: {written:#?}");
    for name in ["logs", "tmp/none"] {
        written.extend(below(&path(name))?.0);
    }
    written.extend([control, path("control.lock")]);
    ensure!(others_can_open(&written).is_empty(), "others can open {:#?}", others_can_open(&written));
    drop(weir);

    let (out, bundle, dev) = (path("weir.elf"), path("weir.bundle"), path("made"));
    for args in [
        &[
            "image".as_ref(),
            "build".as_ref(),
            config.as_os_str(),
            "--format".as_ref(),
            "elf".as_ref(),
            "--out".as_ref(),
            out.as_os_str(),
        ][..],
        &["image".as_ref(), "bundle".as_ref(), config.as_os_str(), "--out".as_ref(), bundle.as_os_str()],
        &["cert".as_ref(), "dev".as_ref(), "localhost".as_ref(), "--dir".as_ref(), dev.as_os_str()],
    ] {
        let output = output(&path("tmp"), args)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut written = vec![out, bundle, path("weir.elf.loader"), path("weir.elf.json")];
    written.extend(below(&dev)?.0);
    ensure!(written.len() >= 9, "{written:#?}");
    ensure!(others_can_open(&written).is_empty(), "others can open {:#?}", others_can_open(&written));
    Ok(())
}

fn killed() -> Result<()> {
    let directory = TempDir::new()?;
    let temporary = directory.path().join("tmp");
    std::fs::create_dir(&temporary)?;
    let (config, control) = (config(directory.path())?, directory.path().join("control"));
    let more = ["--control".as_ref(), control.as_os_str()];
    // A file of someone else that resembles ours.
    let mine = temporary.join("weir-notes1");
    std::fs::create_dir(&mine)?;
    let left = || -> Result<Vec<PathBuf>> {
        let all = std::fs::read_dir(&temporary)?.map(|entry| entry.map(|entry| entry.path()));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        Ok(all.into_iter().filter(|path| *path != mine).collect())
    };
    let mut first = up(&temporary, &config, &more)?;
    let processes = first.processes();
    first.signal(rustix::process::Signal::KILL)?;
    first.wait(PATIENCE)?;
    ensure!(survivors(&processes, PATIENCE).is_empty(), "still there");
    let [dead] = &left()?[..] else { anyhow::bail!("expected one directory: {:#?}", left()) };
    ensure!(others_can_open(&below(dead)?.0).is_empty(), "{:#?}", others_can_open(&below(dead)?.0));
    let second = up(&temporary, &config, &more)?;
    ensure!(!dead.exists() && left()?.len() == 1, "{:#?}", left());
    drop(second);
    ensure!(left()?.is_empty() && mine.is_dir() && !control.exists(), "{:#?}", left());
    Ok(())
}

fn nothing_of_others() -> Result<()> {
    let directory = TempDir::new()?;
    let config = config(directory.path())?;
    let (key, before) = (directory.path().join("site.key"), std::fs::read(&config)?);
    std::fs::write(&key, "a key")?;
    let source = directory.path().join("appliance");
    std::fs::create_dir(&source)?;
    std::fs::write(source.join("lib.rs"), "mine")?;
    let (config, all) = (config.as_os_str(), directory.path().as_os_str());
    let words = |text: &'static str| text.split(' ').map(OsStr::new);
    let refused = |args: Vec<&OsStr>| -> Result<()> {
        let output = output(&std::env::temp_dir(), &args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().last().unwrap_or_default();
        ensure!(!output.status.success() && line.starts_with("weir: "), "{args:?}: {said}");
        Ok(())
    };
    refused(words("up --control").chain([config, config]).collect())?;
    refused(words("up --control").chain([key.as_os_str(), config]).collect())?;
    refused(words("up --runtime-dir").chain([all, config]).collect())?;
    refused(words("supervise --runtime-dir").chain([all, config]).collect())?;
    refused(words("image bundle --out").chain([config, config]).collect())?;
    refused(words("image build --format elf --out").chain([key.as_os_str(), config]).collect())?;
    let pair = format!("a={}", key.display());
    refused(words("image keys --out").chain([key.as_os_str(), pair.as_ref()]).collect())?;
    let (mine, authority) = (directory.path().join("mine"), directory.path().join("mine/ca.key"));
    std::fs::create_dir(&mine)?;
    std::fs::write(&authority, "a key")?;
    refused(words("cert dev localhost --dir").chain([mine.as_os_str()]).collect())?;
    ensure!(std::fs::read(config)? == before, "the configuration is another");
    ensure!(std::fs::read(&key)? == b"a key" && std::fs::read(authority)? == b"a key");
    ensure!(std::fs::read(source.join("lib.rs"))? == b"mine");
    Ok(())
}
