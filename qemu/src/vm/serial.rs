//! Forwards the output of a VM and its helpers, and keeps the last lines for error messages.

use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// Number of lines kept.
const TAIL_LINES: usize = 5;
/// Maximum length of a forwarded line; longer ones are split.
const MAX_LINE: u64 = 400;

/// Output of one VM, printed to standard error with its name in front.
#[derive(Clone, Debug)]
pub struct Serial {
    name: String,
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl Serial {
    /// For the VM of this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), tail: Arc::default() }
    }

    /// Forwards a child's output until it ends; `source` names the child. It uses its own thread, so that reading never waits for
    /// other work, and a stopped terminal stops nothing else.
    pub fn follow(&self, output: Option<impl AsFd>, source: &str) -> Result<()> {
        let output = output.context("the child's output is not piped")?;
        let fd: OwnedFd = output.as_fd().try_clone_to_owned().context("the child's output")?;
        // The async runtime made the pipe non-blocking; this thread wants to block.
        let flags = rustix::fs::fcntl_getfl(&fd).context("the child's output")?;
        rustix::fs::fcntl_setfl(&fd, flags - rustix::fs::OFlags::NONBLOCK).context("the child's output")?;
        let (lines, source) = (self.clone(), source.to_owned());
        std::thread::Builder::new()
            .name(format!("serial {}", self.name))
            .spawn(move || lines.pass_on(File::from(fd), &source))
            .context("starting a thread for the serial line")?;
        Ok(())
    }

    /// The last lines, joined.
    pub fn tail(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }

    /// The value after `word` in one of the last lines, up to the next space.
    pub fn value_after(&self, word: &str) -> Option<String> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = tail.iter().find_map(|line| Some(line.split_once(word)?.1.to_owned()))?;
        rest.split_whitespace().next().map(str::to_owned)
    }

    fn pass_on(&self, output: impl Read, source: &str) {
        let prefix = if source.is_empty() { self.name.clone() } else { format!("{} {source}", self.name) };
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            match output.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => self.line(&prefix, &line),
            }
        }
    }

    fn line(&self, prefix: &str, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text: String = text.trim_end().chars().filter(|c| !c.is_control()).collect();
        // The loader describes its page tables at length; real problems are reported as errors.
        let chatter = ["[LOADER][INFO]", "[LOADER][WARN]"].iter().any(|prefix| text.starts_with(prefix));
        // Without a system log, passt repeats this with every line.
        let chatter = chatter || (text.starts_with("Failed to send ") && text.ends_with(" to syslog"));
        let chatter = chatter || text.starts_with("Don't run as root. Changing to nobody");
        if text.is_empty() || chatter {
            return;
        }
        {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(text.clone());
        }
        eprintln!("[{prefix}] {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines_and_no_control_characters() {
        let serial = Serial::new("test");
        let long = "x".repeat(1000);
        serial.pass_on(
            format!("one\ntwo\r\n\n\x1b[2Jthree\naddress 10.0.2.15/24 by DHCP\n{long}").as_bytes(),
            "",
        );
        assert_eq!(serial.value_after("address "), Some("10.0.2.15/24".into()));
        let tail = serial.tail();
        assert!(tail.starts_with("[2Jthree | address 10.0.2.15/24 by DHCP | xxx"), "{tail}");
        assert!(tail.ends_with(&"x".repeat(200)));
    }
}
