//! Unmodified servers as workers, all with the same behaviours, against the real image in QEMU.
//!
//! One appliance has a pool for each server. Each server is a test, so that `./tests/run nginx` runs one; the results are printed
//! as a table. `tests/apps/README.md` describes the columns.

mod behaviours;
mod http;
mod servers;
mod table;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use servers::{SERVERS, Server, Stage};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use table::Row;
use weir_tests::weir::{Weir, command, program};

/// Includes the time to build the images.
const START: Duration = Duration::from_secs(900);
/// Time limit for everything, in case a test hangs.
const LIMIT: Duration = Duration::from_secs(15 * 60);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They mostly wait.
    arguments.test_threads = arguments.test_threads.or(Some(SERVERS.len()));
    if arguments.list {
        return libtest_mimic::run(
            &arguments,
            SERVERS.iter().map(|s| Trial::test(name(s), || Ok(()))).collect(),
        )
        .exit_code();
    }
    let (stage, weir, at) = match start() {
        Ok(running) => running,
        Err(error) => {
            eprintln!("apps: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT);
        eprintln!("apps: not done after {LIMIT:?}");
        // Machines and servers end with this process.
        std::process::exit(1);
    });
    let (stage, rows) = (Arc::new(stage), Arc::new(Mutex::new(Vec::new())));
    let trials = SERVERS.iter().map(|server| {
        let (stage, rows) = (stage.clone(), rows.clone());
        Trial::test(name(server), move || {
            let row = behaviours::run(server, at, &stage);
            let verdict = row.verdict();
            rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
            verdict.map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let rows: Vec<Row> = std::mem::take(&mut rows.lock().unwrap_or_else(PoisonError::into_inner));
    println!("{}", table::render(&rows));
    if conclusion.has_failed() {
        eprintln!("--- what `weir up` printed:\n{}", weir.log());
    }
    conclusion.exit_code()
}

fn name(server: &Server) -> String {
    format!("apps::{}", server.name)
}

/// Starts servers and appliance. Must be called on the main thread, whose end ends them.
fn start() -> Result<(Stage, Weir, SocketAddr)> {
    let stage = Stage::set()?;
    let mut up = command(program());
    let port = weir_tests::free_port()?.to_string();
    // A network without delays of its own: passt slows ten simultaneous large uploads.
    up.arg("up").arg(stage.path("weir.toml")).args(["--http-port", &port, "--net", "user"]);
    up.envs(stage.variables());
    let mut weir = Weir::start_command(&mut up)?;
    let at = weir.ready(START).context("`weir up` with all servers")?;
    ensure!(at.ip().is_loopback(), "{at}");
    Ok((stage, weir, at))
}
