//! The application as a child process.

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::Sender;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Delay before the application is restarted.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Maximum delay; it doubles with each restart until the application has run this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The child process, as seen by other threads.
#[derive(Debug, Default)]
pub struct Child {
    pid: AtomicI32,
    /// It must not be restarted.
    leaving: AtomicBool,
}

impl Child {
    /// Prevents further restarts.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    /// Sends it a signal, if it is running.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid.load(Ordering::SeqCst)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Starts the application, waits for it and reaps orphans meanwhile; repeatedly with `restart`. Reports how it ended as a
    /// description and an exit status.
    pub fn run(&self, command: &[OsString], restart: bool, ended: &Sender<(String, i32)>) -> io::Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let (words, status) = self.once(command)?;
            if !restart || self.leaving.load(Ordering::SeqCst) {
                // Fails only if nobody is waiting any more.
                let _ = ended.send((words, status));
                return Ok(());
            }
            if began.elapsed() >= LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            eprintln!("weir-agent: the application {words}; restarting it in {} ms", pause.as_millis());
            sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn once(&self, command: &[OsString]) -> io::Result<(String, i32)> {
        let [program, arguments @ ..] = command else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(program);
        if std::env::var_os("PATH").is_none() {
            // The kernel sets no PATH for init.
            command.env("PATH", PATH);
        }
        let child = command.args(arguments).spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        self.pid.store(pid, Ordering::SeqCst);
        let status = loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((ended, status))) if ended.as_raw_pid() == pid => break status,
                // A reaped orphan.
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        self.pid.store(0, Ordering::SeqCst);
        Ok(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => (format!("ended with status {code}"), code),
            (None, signal) => {
                let signal = signal.unwrap_or(0);
                (format!("was ended by signal {signal}"), 128 + signal)
            }
        })
    }
}
