//! Serves the control protocol on one stream.

use crate::protocol::{Answer, LINE_MAX, ProtocolError, Request, Status};
use crate::server::Counters;
use crate::target::Target;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time limit for the application to accept a connection; then it counts as down.
pub const PING_LIMIT: Duration = Duration::from_secs(5);

/// Maximum number of concurrent control streams; further ones are closed at once.
pub const MOST_STREAMS: u64 = 8;

/// State that replies are based on.
#[derive(Clone, Debug)]
pub struct Control {
    /// Where the application listens.
    pub target: Target,
    /// Stream counters.
    pub counters: Arc<Counters>,
    /// Shutdown has begun.
    pub stopping: Arc<AtomicBool>,
}

impl Control {
    /// Serves commands until the stream ends or sends an invalid one. `stop` is called for each stop command, after its reply has
    /// been sent.
    pub fn serve(&self, mut stream: impl Read + Write, stop: impl Fn(Duration)) -> io::Result<()> {
        let mut buffer = [0; LINE_MAX];
        let mut held = 0;
        loop {
            while let Some(at) = buffer[..held].iter().position(|&b| b == b'\n') {
                let request = Request::parse(&buffer[..at]);
                buffer.copy_within(at + 1..held, 0);
                held -= at + 1;
                let answer = self.answer(request);
                stream.write_all(answer.to_string().as_bytes())?;
                match request {
                    Ok(Request::Stop { seconds }) => stop(Duration::from_secs(seconds.into())),
                    Ok(Request::Ping | Request::Ended { .. }) => {}
                    Err(_) => return Ok(()),
                }
            }
            if held == LINE_MAX {
                return stream
                    .write_all(Answer::Error(ProtocolError::Line.to_string()).to_string().as_bytes());
            }
            match stream.read(&mut buffer[held..]) {
                Ok(0) => return Ok(()),
                Ok(n) => held += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&self, request: Result<Request, ProtocolError>) -> Answer {
        match request {
            Ok(Request::Ping) => self.status(),
            Ok(Request::Ended { port }) if self.counters.was_cut(port) => Answer::Cut,
            Ok(Request::Ended { .. }) => Answer::Whole,
            Ok(Request::Stop { .. }) => Answer::Stopping,
            Err(error) => Answer::Error(error.to_string()),
        }
    }

    fn status(&self) -> Answer {
        if self.stopping.load(Ordering::Relaxed) {
            return Answer::Down("stopping".into());
        }
        match self.target.open(PING_LIMIT) {
            Ok(_) => Answer::Ok(Status {
                memory: std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| used_memory(&text)),
                streams: self.counters.streams.load(Ordering::Relaxed),
                refused: self.counters.refused.load(Ordering::Relaxed),
            }),
            Err(error) => Answer::Down(io::Error::from(error).to_string()),
        }
    }
}

/// Memory in use in bytes, from the text of `/proc/meminfo`.
fn used_memory(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    kib("MemTotal")?.checked_sub(kib("MemAvailable")?)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    fn control(target: Target) -> Control {
        Control { target, counters: Arc::default(), stopping: Arc::default() }
    }

    /// Sends everything, reads everything.
    fn ask(control: &Control, questions: &[u8]) -> io::Result<(String, Vec<Duration>)> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let (sender, stops) = channel();
        let control = control.clone();
        let served = std::thread::spawn(move || {
            control.serve(theirs, |limit| {
                let _ = sender.send(limit);
            })
        });
        // Fails if the agent is expected to hang up.
        let _ = ours.write_all(questions).and_then(|()| ours.shutdown(std::net::Shutdown::Write));
        let mut answers = Vec::new();
        // The agent closes with unread commands, which causes a reset after the reply.
        let mut piece = [0; 512];
        while let Ok(n @ 1..) = ours.read(&mut piece) {
            answers.extend_from_slice(&piece[..n]);
        }
        let _ = served.join();
        Ok((String::from_utf8_lossy(&answers).into_owned(), stops.into_iter().collect()))
    }

    #[test]
    fn pings_say_how_the_application_is() -> io::Result<()> {
        let application = TcpListener::bind("127.0.0.1:0")?;
        let control = control(Target::Tcp(application.local_addr()?));
        control.counters.streams.store(2, Ordering::Relaxed);
        let (answers, _) = ask(&control, b"ping\nping\n")?;
        let answers: Vec<_> = answers.lines().collect();
        assert_eq!(answers.len(), 2);
        let Ok(Answer::Ok(status)) = Answer::parse(answers[0].as_bytes()) else { panic!("{answers:?}") };
        assert!(status.memory.is_some_and(|bytes| bytes > 1 << 20) && status.streams == 2, "{status:?}");
        drop(application);
        assert_eq!(ask(&control, b"ping\n")?.0, "down Connection refused (os error 111)\n");
        control.stopping.store(true, Ordering::Relaxed);
        assert_eq!(ask(&control, b"ping\n")?.0, "down stopping\n");
        Ok(())
    }

    #[test]
    fn streams_that_broke_off_are_told_until_their_port_is_used_again() -> io::Result<()> {
        let control = control(Target::Unix("/nowhere".into()));
        control.counters.ended(1024, true);
        control.counters.ended(1025, false);
        assert_eq!(ask(&control, b"ended 1024\nended 1025\nended 7\n")?.0, "cut\nwhole\nwhole\n");
        control.counters.begun(1024);
        assert_eq!(ask(&control, b"ended 1024\n")?.0, "whole\n");
        assert!(ask(&control, b"ended x\n")?.0.starts_with("error number"));
        Ok(())
    }

    #[test]
    fn stop_is_answered_and_passed_on() -> io::Result<()> {
        let control = control(Target::Unix("/nowhere".into()));
        let (answers, stops) = ask(&control, b"stop 30\n")?;
        assert_eq!(
            (answers.as_str(), stops.as_slice()),
            ("stopping\n", [Duration::from_secs(30)].as_slice())
        );
        Ok(())
    }

    #[test]
    fn nonsense_is_answered_by_an_error_and_an_end() -> io::Result<()> {
        let control = control(Target::Unix("/nowhere".into()));
        let (answers, stops) = ask(&control, b"GET / HTTP/1.1\r\n\r\nstop 0\n")?;
        assert!(answers.starts_with("error line") && answers.lines().count() == 1, "{answers}");
        assert!(stops.is_empty());
        let (answers, _) = ask(&control, &[b'x'; 4 * LINE_MAX])?;
        assert!(answers.starts_with("error line") && answers.lines().count() == 1, "{answers}");
        assert_eq!(ask(&control, b"ping")?.0, "", "half a line is no question");
        Ok(())
    }

    #[test]
    fn memory_in_use() {
        let text = "MemTotal:         500000 kB\nMemFree: 1 kB\nMemAvailable:     400000 kB\n";
        assert_eq!(used_memory(text), Some(102_400_000));
        for odd in
            ["", "MemTotal: 1 kB", "MemTotal: 1 kB\nMemAvailable: 2 kB", "MemTotal: x kB\nMemAvailable: 1 kB"]
        {
            assert_eq!(used_memory(odd), None, "{odd}");
        }
    }
}
