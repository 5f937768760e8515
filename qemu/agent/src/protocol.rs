//! The protocol between supervisor and agent: lines of ASCII on a stream opened by the supervisor.
//!
//! | command | reply |
//! |---|---|
//! | `ping` | `ok memory=BYTES streams=N refused=N` if the application accepts connections, otherwise `down REASON` |
//! | `stop SECONDS` | `stopping`, at once. The agent then accepts no more streams, waits up to SECONDS for open ones, then ends the application and, as init, the VM |
//! | `ended PORT` | how the application ended the stream from the host's vsock port PORT: `whole` in order, or `cut` by a reset, which vsock cannot express |
//! | anything else | `error REASON`, and the stream ends |
//!
//! Commands on a stream are answered in order, one reply each. A line ends with LF and has at most [`LINE_MAX`] bytes including
//! it. `memory` is the use of the whole machine, and is omitted if unknown. Readers ignore unknown words, so that replies can be
//! extended.
//!
//! This module does no I/O: callers split lines at LF and pass them without it.

use std::fmt;

/// Maximum length of a line in bytes, including LF.
pub const LINE_MAX: usize = 256;

/// Maximum number of seconds for `stop`: a day.
pub const STOP_MAX_S: u32 = 86_400;

/// A command from the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Does the application accept connections?
    Ping,
    /// How did the application end the stream that came from this port?
    Ended {
        /// The stream's vsock port at the host.
        port: u32,
    },
    /// Shut down in order.
    Stop {
        /// Time limit for open streams, in seconds, at most [`STOP_MAX_S`].
        seconds: u32,
    },
}

/// A reply from the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The application accepts connections.
    Ok(Status),
    /// It does not; the reason.
    Down(String),
    /// The application ended the stream in order.
    Whole,
    /// The application reset the stream.
    Cut,
    /// The agent has begun to stop.
    Stopping,
    /// The command was not understood; the reason.
    Error(String),
}

/// State of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Memory in use by the machine in bytes: `MemTotal` minus `MemAvailable` in `/proc/meminfo`.
    pub memory: Option<u64>,
    /// Open streams.
    pub streams: u64,
    /// Streams closed since the agent started because there were too many.
    pub refused: u64,
}

/// Why a line is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// Longer than [`LINE_MAX`], or with bytes other than printable ASCII.
    Line,
    /// Unknown word.
    Word,
    /// `stop` without a number of seconds from 0 to [`STOP_MAX_S`], or a value that is not a number.
    Number,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => write!(f, "line, expected at most {LINE_MAX} bytes of printable ASCII"),
            Self::Word => f.write_str("unknown word"),
            Self::Number => write!(f, "number, expected digits, of seconds at most {STOP_MAX_S}"),
        }
    }
}

impl std::error::Error for ProtocolError {}

impl Request {
    /// Parses a line without its LF.
    pub fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        match text(line)?.split_once(' ') {
            None if line == b"ping" => Ok(Self::Ping),
            Some(("stop", seconds)) => number(seconds)
                .and_then(|n| u32::try_from(n).ok())
                .filter(|&n| n <= STOP_MAX_S)
                .map(|seconds| Self::Stop { seconds })
                .ok_or(ProtocolError::Number),
            Some(("ended", port)) => number(port)
                .and_then(|n| u32::try_from(n).ok())
                .map(|port| Self::Ended { port })
                .ok_or(ProtocolError::Number),
            None if line == b"stop" => Err(ProtocolError::Number),
            _ => Err(ProtocolError::Word),
        }
    }
}

/// Formats the line with its LF.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("ping\n"),
            Self::Ended { port } => writeln!(f, "ended {port}"),
            Self::Stop { seconds } => writeln!(f, "stop {seconds}"),
        }
    }
}

impl Answer {
    /// Parses a line without its LF.
    pub fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        let text = text(line)?;
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "ok" => Status::parse(rest).map(Self::Ok),
            "down" => Ok(Self::Down(rest.to_owned())),
            "whole" if rest.is_empty() => Ok(Self::Whole),
            "cut" if rest.is_empty() => Ok(Self::Cut),
            "stopping" if rest.is_empty() => Ok(Self::Stopping),
            "error" => Ok(Self::Error(rest.to_owned())),
            _ => Err(ProtocolError::Word),
        }
    }
}

/// Formats the line with its LF. Reasons are truncated and stripped of characters a line cannot contain.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(status) => {
                f.write_str("ok")?;
                if let Some(memory) = status.memory {
                    write!(f, " memory={memory}")?;
                }
                writeln!(f, " streams={} refused={}", status.streams, status.refused)
            }
            Self::Down(reason) => writeln!(f, "down {}", Reason(reason)),
            Self::Whole => f.write_str("whole\n"),
            Self::Cut => f.write_str("cut\n"),
            Self::Stopping => f.write_str("stopping\n"),
            Self::Error(reason) => writeln!(f, "error {}", Reason(reason)),
        }
    }
}

impl Status {
    fn parse(words: &str) -> Result<Self, ProtocolError> {
        let mut status = Self::default();
        for (name, value) in words.split(' ').filter_map(|word| word.split_once('=')) {
            let value = || number(value).ok_or(ProtocolError::Number);
            match name {
                "memory" => status.memory = Some(value()?),
                "streams" => status.streams = value()?,
                "refused" => status.refused = value()?,
                _ => {}
            }
        }
        Ok(status)
    }
}

struct Reason<'a>(&'a str);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Leaves room for the word before it and LF.
        for c in self.0.chars().take(LINE_MAX - 8) {
            write!(f, "{}", if c == ' ' || c.is_ascii_graphic() { c } else { '?' })?;
        }
        Ok(())
    }
}

fn text(line: &[u8]) -> Result<&str, ProtocolError> {
    let plain = line.len() < LINE_MAX && line.iter().all(|&b| b == b' ' || b.is_ascii_graphic());
    std::str::from_utf8(line).ok().filter(|_| plain).ok_or(ProtocolError::Line)
}

/// Parses digits only: no sign, no space.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(of: impl ToString) -> Vec<u8> {
        let mut line = of.to_string().into_bytes();
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(line.len() < LINE_MAX && !line.contains(&b'\n'), "{line:?}");
        line
    }

    #[test]
    fn requests_survive_the_line() {
        for request in [Request::Ping, Request::Stop { seconds: 0 }, Request::Stop { seconds: STOP_MAX_S }] {
            assert_eq!(Request::parse(&line(request)), Ok(request));
        }
        assert_eq!(Request::Stop { seconds: 90 }.to_string(), "stop 90\n");
    }

    #[test]
    fn answers_survive_the_line() {
        let known = Status { memory: Some(u64::MAX), streams: 3, refused: 1 };
        for answer in [
            Answer::Ok(known),
            Answer::Ok(Status::default()),
            Answer::Down("connection refused".into()),
            Answer::Down(String::new()),
            Answer::Stopping,
            Answer::Error(ProtocolError::Word.to_string()),
        ] {
            assert_eq!(Answer::parse(&line(&answer)), Ok(answer));
        }
        assert_eq!(Answer::Ok(known).to_string(), "ok memory=18446744073709551615 streams=3 refused=1\n");
    }

    #[test]
    fn an_answer_may_grow() {
        let status = Status { memory: Some(5), streams: 0, refused: 0 };
        assert_eq!(Answer::parse(b"ok memory=5 load=0.7 fine"), Ok(Answer::Ok(status)));
        assert_eq!(Answer::parse(b"ok"), Ok(Answer::Ok(Status::default())));
    }

    #[test]
    fn reasons_are_cut_and_cleaned() {
        let answer = Answer::Down(format!("one\ntwo\r{}\u{e9}", "x".repeat(1000)));
        let Ok(Answer::Down(reason)) = Answer::parse(&line(&answer)) else { panic!("not an answer") };
        assert!(reason.starts_with("one?two?xxx") && reason.len() == LINE_MAX - 8, "{reason}");
    }

    #[test]
    fn what_is_not_a_line_is_refused() {
        use ProtocolError::{Line, Number, Word};
        let long = vec![b'x'; LINE_MAX];
        for (bad, error) in [
            (b"".as_slice(), Word),
            (b"PING", Word),
            (b"ping ", Word),
            (b"ping now", Word),
            (b"ping\r", Line),
            (b"stop", Number),
            (b"stop ", Number),
            (b"stop -1", Number),
            (b"stop +1", Number),
            (b"stop 86401", Number),
            (b"stop 99999999999999999999", Number),
            (b"stop 1 2", Number),
            (b"pi\0ng", Line),
            ("ping\u{e9}".as_bytes(), Line),
            (&long, Line),
        ] {
            assert_eq!(Request::parse(bad), Err(error), "{:?}", String::from_utf8_lossy(bad));
        }
        for (bad, error) in [
            (b"".as_slice(), Word),
            (b"okay", Word),
            (b"ok memory=", Number),
            (b"ok streams=-1", Number),
            (b"stopping now", Word),
            (b"HTTP/1.1 200 OK", Word),
            (&long, Line),
        ] {
            assert_eq!(Answer::parse(bad), Err(error), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
