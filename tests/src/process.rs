//! Inspects processes through /proc.

use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// A process; its start time distinguishes it from a later one with the same ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process identifier.
    pub pid: i32,
    /// Its command line, words separated by spaces.
    pub command: String,
    started: u64,
}

impl Process {
    /// The process with this ID, unless it is gone or a zombie.
    pub fn find(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let command = command.split('\0').collect::<Vec<_>>().join(" ");
        (stat.state != "Z").then_some(Self { pid, command, started: stat.started })
    }

    /// Whether it still runs.
    pub fn is_there(&self) -> bool {
        Self::find(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// Processor time it has used, in clock ticks (1/100 s).
    pub fn cpu_ticks(&self) -> Option<u64> {
        Some(Stat::read(self.pid)?.ticks)
    }

    /// Kills it.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends it a signal, if it is still there.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_there()) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// All descendants of a process.
pub fn descendants(pid: i32) -> Vec<Process> {
    let all: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid)?.parent)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Process::find).collect()
}

/// The `processes` that still exist after `patience`.
pub fn survivors(processes: &[Process], patience: Duration) -> Vec<Process> {
    let limit = Instant::now() + patience;
    loop {
        let left: Vec<_> = processes.iter().filter(|p| p.is_there()).cloned().collect();
        if left.is_empty() || Instant::now() > limit {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Stat {
    state: String,
    parent: i32,
    ticks: u64,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state parent …`, where the name may contain anything.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.to_string(),
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
            started: number(19)?,
        })
    }
}
