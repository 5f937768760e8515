//! Invalid input is rejected in one line, and no process remains.

use crate::lab::Lab;
use crate::lifecycle::files_only;
use anyhow::{Context, Result, ensure};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use weir_tests::process::survivors;
use weir_tests::weir::{Weir, command, program};
use weir_tests::{PATIENCE, free_port, may_mount, workspace};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("bad_input::no_qemu", no_qemu),
    ("bad_input::no_toolchain", no_toolchain),
    ("bad_input::port_in_use", port_in_use),
    ("bad_input::config_does_not_parse", config_does_not_parse),
    ("bad_input::missing_files", missing_files),
    ("bad_input::options", options),
    ("bad_input::all_errors_at_once", all_errors_at_once),
    ("bad_input::a_key_is_never_shown", a_key_is_never_shown),
];

/// Runs a `weir` command that must fail; returns its one line of output.
fn refused(command: &mut Command) -> Result<String> {
    let mut weir = Weir::start_command(command)?;
    let mut seen = Vec::new();
    let status = loop {
        seen.extend(weir.processes());
        if let Ok(status) = weir.wait(Duration::from_millis(20)) {
            break status;
        }
    };
    let log = weir.log();
    ensure!(!status.success(), "accepted: {log}");
    let mut lines = log.lines().filter(|line| line.starts_with("weir: "));
    let line = lines.next().with_context(|| format!("no line: {log}"))?;
    ensure!(lines.next().is_none() && log.ends_with(&format!("{line}\n")), "more than one line: {log}");
    let left = survivors(&seen, PATIENCE);
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(line.to_owned())
}

fn up(args: &[&str]) -> Result<Command> {
    let mut up = command(program());
    up.arg("up").args(args).args(["--http-port", &free_port()?.to_string()]);
    up.args(["--https-port", &free_port()?.to_string()]);
    Ok(up)
}

/// A directory of links to some programs, as the only PATH.
fn path_with(names: &[&str]) -> Result<TempDir> {
    let directory = TempDir::new()?;
    for name in names {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|place| place.join(name))
            .find(|path| path.is_file())
            .with_context(|| format!("{name} is not in PATH"))?;
        std::os::unix::fs::symlink(found, directory.path().join(name))?;
    }
    Ok(directory)
}

fn no_qemu() -> Result<()> {
    let path = path_with(&["setpriv", "sh"])?;
    let line = refused(up(&[])?.env("PATH", path.path()))?;
    ensure!(line.contains("qemu-system-x86"), "{line}");
    Ok(())
}

fn no_toolchain() -> Result<()> {
    // Debian's compiler is found by its absolute path, so it is hidden in a mount namespace of this command.
    if !may_mount() {
        return Ok(());
    }
    let path = path_with(&["setpriv", "sh", "qemu-system-x86_64", "unshare", "mount"])?;
    let hide = "if [ -e /usr/bin/rustc ]; then mount --bind /dev/null /usr/bin/rustc; fi; exec \"$@\"";
    let mut up = command("unshare");
    up.args(["--mount", "sh", "-c", hide, "sh"]).arg(program());
    up.args(["up", "--http-port", &free_port()?.to_string(), "--https-port", &free_port()?.to_string()])
        .env("PATH", path.path());
    let line = refused(&mut up)?;
    ensure!(line.contains("toolchain") && line.contains("install"), "{line}");
    Ok(())
}

fn port_in_use() -> Result<()> {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = taken.local_addr()?.port().to_string();
    let line = refused(command(program()).args(["up", "--http-port", &port]))?;
    ensure!(line.contains(&port) && line.contains("in use"), "{line}");
    Ok(())
}

fn config_does_not_parse() -> Result<()> {
    let directory = TempDir::new()?;
    let config = directory.path().join("weir.toml");
    let name = config.to_string_lossy().into_owned();
    std::fs::write(&config, "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = 7\nfiles = \".\"\n")?;
    for line in [refused(&mut up(&[&name])?)?, refused(command(program()).args(["check", &name]))?] {
        ensure!(line.contains("weir.toml:4:"), "no line and column: {line}");
    }
    Ok(())
}

fn missing_files() -> Result<()> {
    let line = refused(&mut up(&["/nonexistent/weir.toml"])?)?;
    ensure!(line.contains("/nonexistent/weir.toml"), "{line}");
    let directory = TempDir::new()?;
    let config = files_only(directory.path())?;
    std::fs::remove_dir(directory.path().join("files"))?;
    let line = refused(&mut up(&[&config])?)?;
    ensure!(line.contains("files"), "{line}");
    Ok(())
}

fn options() -> Result<()> {
    let demo = workspace().join("qemu/demo/weir.toml");
    let line = refused(&mut up(&[&demo.to_string_lossy(), "--address", "10.0.0.1"])?)?;
    ensure!(line.contains("--address"), "{line}");
    for (option, value) in [("--memory", "1K"), ("--accel", "xen"), ("--net", "bridge"), ("--http-port", "0")]
    {
        let output = command(program()).args(["up", option, value]).output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && message.contains(option), "{option} {value}: {message}");
    }
    Ok(())
}

fn all_errors_at_once() -> Result<()> {
    let directory = TempDir::new()?;
    let config = directory.path().join("weir.toml");
    std::fs::write(
        &config,
        "[[site]]\nname = \"a b\"\n[[site.prefix]]\nurl = 7\nfiles = \"none\"\n[[pool]]\nname = \"p\"\nqueue_length = 0\n",
    )?;
    let output = command(program()).arg("check").arg(&config).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let places: Vec<_> =
        text.lines().filter_map(|line| line.split("weir.toml:").nth(1)?.split(' ').next()).collect();
    ensure!(!output.status.success() && places == ["2:8:", "4:7:", "5:9:", "6:1:", "8:16:"], "{text}");
    Ok(())
}

/// A private key wherever one might be put by mistake, in every form it may have been mangled to.
fn a_key_is_never_shown() -> Result<()> {
    let lab = Lab::new()?;
    lab.openssl("ecparam -genkey -name prime256v1 -noout -out shop.key")?;
    lab.openssl("pkcs8 -topk8 -nocrypt -in shop.key -out canary.key")?;
    let key = std::fs::read_to_string(lab.path("canary.key"))?;
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    lab.openssl("pkey -in canary.key -outform DER -out canary.der")?;
    let der = std::fs::read(lab.path("canary.der"))?;
    lab.write("flat.key", &key.replace('\n', ""))?;
    lab.write("blanks.key", &key.replace('\n', " "))?;
    lab.write("literal.key", &key.replace('\n', "\\n"))?;
    lab.write("cut.key", &key[..key.len() - 40])?;
    lab.write("bare.key", &body)?;
    lab.openssl("pkcs8 -topk8 -in shop.key -passout pass:canary -out encrypted.key")?;
    let files = [
        "canary.key",
        "canary.der",
        "flat.key",
        "blanks.key",
        "literal.key",
        "cut.key",
        "bare.key",
        "encrypted.key",
    ];
    let hex = |separator: &str| der.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(separator);
    let decimal = |separator: &str| der.iter().map(u8::to_string).collect::<Vec<_>>().join(separator);
    let characters = |text: &str| text.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(", ");
    // A part of the middle, because all keys begin alike.
    let middle = |text: String| text[text.len() / 2..text.len() / 2 + 20].to_owned();
    let traces = [
        body[60..76].to_owned(),
        body[100..116].to_owned(),
        middle(hex("")),
        middle(hex(":")),
        middle(decimal(", ")),
        characters(&body[60..70]),
    ];
    let control = lab.path("control");
    let listener = std::os::unix::net::UnixListener::bind(&control)?;
    let run = |arguments: &[&str]| -> Result<()> {
        let output = command(program()).args(arguments).current_dir(lab.0.path()).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        for trace in &traces {
            ensure!(
                !text.to_lowercase().contains(&trace.to_lowercase()),
                "weir {arguments:?} shows {trace}: {text}"
            );
        }
        ensure!(!output.status.success() && !text.contains("panicked"), "weir {arguments:?}: {text}");
        ensure!(text.lines().count() <= 8, "weir {arguments:?} says too much: {text}");
        Ok(())
    };
    let site = |pair: &str| {
        format!(
            "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"https://a:443/\"\nnobody = \"unbound\"\n[[site.certificate]]\n{pair}"
        )
    };
    for file in files {
        run(&["check", file])?;
        run(&["up", file])?;
        run(&["image", "bundle", file, "--out", "out"])?;
        run(&["image", "inspect", file])?;
        run(&["ctl", "--control", "control", "certificate", "a", "--chain", file, "--key", file])?;
        run(&["ctl", "--control", "control", "certificate", "a", "--ocsp", file])?;
        lab.write("key.toml", &site(&format!("chain = \"ca.pem\"\nkey = {file:?}\n")))?;
        lab.write("chain.toml", &site(&format!("chain = {file:?}\nkey = {file:?}\nocsp = {file:?}\n")))?;
        let text = String::from_utf8_lossy(&std::fs::read(lab.path(file))?).into_owned();
        let pasted = format!("chain = \"\"\"{0}\"\"\"\nkey = \"\"\"{0}\"\"\"\n", text.replace('\\', ""));
        lab.write("pasted.toml", &site(&pasted))?;
        for config in ["key.toml", "chain.toml", "pasted.toml"] {
            run(&["check", config])?;
        }
        if file != "canary.key" {
            run(&["image", "keys", &format!("a={file}"), "--out", "out"])?;
        }
    }
    run(&["site", &key])?;
    run(&["up", "--memory", &body, "--address", &key])?;
    drop(listener);
    Ok(())
}
