//! The application as a child process. A single test in its own process, because waiting for any child must happen in one place.

use rustix::process::Signal;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use weir_agent::application::Child;

const PATIENCE: Duration = Duration::from_secs(60);

fn sh(script: &str) -> Vec<OsString> {
    ["sh", "-c", script].map(OsString::from).to_vec()
}

fn start(script: &str, restart: bool) -> (Arc<Child>, Receiver<(String, i32)>) {
    let (child, (sender, ended)) = (Arc::new(Child::default()), channel());
    let (runs, command) = (child.clone(), sh(script));
    std::thread::spawn(move || runs.run(&command, restart, &sender));
    (child, ended)
}

#[test]
fn children_end_are_ended_and_start_again() -> std::io::Result<()> {
    let (_, ended) = start("exit 3", false);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(("ended with status 3".into(), 3)));

    let directory = tempfile::tempdir()?;
    let mark = directory.path().join("started");
    let waits = format!("echo >>{}; exec sleep 60", mark.display());
    let runs = || std::fs::read_to_string(&mark).map_or(0, |text| text.lines().count());
    let wait_for_runs = |number| {
        let limit = Instant::now() + PATIENCE;
        while runs() != number {
            assert!(Instant::now() < limit, "{} runs, not {number}", runs());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let (child, ended) = start(&waits, false);
    wait_for_runs(1);
    child.signal(Signal::TERM);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(("was ended by signal 15".into(), 143)));

    // Restarted until told to leave.
    let (child, ended) = start(&waits, true);
    wait_for_runs(2);
    child.signal(Signal::KILL);
    wait_for_runs(3);
    child.leave();
    child.signal(Signal::TERM);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(("was ended by signal 15".into(), 143)));
    child.signal(Signal::TERM);

    let (sender, _) = channel();
    let missing = Child::default().run(&["/nowhere".into()], false, &sender);
    assert_eq!(missing.map_err(|error| error.kind()), Err(std::io::ErrorKind::NotFound));
    Ok(())
}
