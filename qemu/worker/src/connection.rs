//! Serves the requests of one stream, one after the other.

use crate::content::{BadChunk, ContentReader};
use crate::handler::{self, Answer, Plan};
use crate::head::{self, Framing, Head, HeadError, MAX_HEAD};
use crate::pattern;
use alloc::format;
use alloc::vec::Vec;
use netdrv::stream::{StreamId, StreamTransport};

/// Maximum content moved in one step, in bytes, and held by a connection.
const STEP: usize = 16 * 1024;
/// Larger buffers are freed between requests, so that an idle stream uses little memory.
const IDLE_CAPACITY: usize = 2 * 1024;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The next event of its stream.
    Event,
    /// An event, or this time (nanoseconds, monotonic).
    Until(u64),
    /// Nothing: release the stream.
    Over,
}

/// State of one stream.
#[derive(Debug, Default)]
pub struct Connection {
    /// The beginning of the head being received.
    head: Vec<u8>,
    /// Bytes to send, starting at `sent`.
    out: Vec<u8>,
    sent: usize,
    /// The exchange in progress; `None` between requests.
    exchange: Option<Exchange>,
    /// The stream ends after `out`.
    ending: bool,
}

#[derive(Debug)]
struct Exchange {
    content: ContentReader,
    reply: Reply,
    keep_alive: bool,
    is_head: bool,
}

#[derive(Debug)]
enum Reply {
    /// Discard the content, then respond.
    Answer(Answer),
    Sleep {
        ms: u64,
        until: Option<u64>,
    },
    Bytes {
        total: u64,
        next: Option<u64>,
    },
    Echo {
        framing: Framing,
    },
    Discard {
        bytes: u64,
        crc: crc32fast::Hasher,
    },
    /// Everything is in `out`.
    Done,
}

enum Step {
    /// Continue at once.
    Again,
    Wait(Wait),
}

impl Connection {
    /// Makes as much progress as the stream allows. `scratch` is a buffer of any reasonable size shared by all connections.
    pub fn drive<T: StreamTransport>(
        &mut self,
        io: &mut T,
        id: StreamId,
        now_ns: u64,
        scratch: &mut [u8],
    ) -> Wait {
        loop {
            while self.sent < self.out.len() {
                match io.send(id, &self.out[self.sent..]) {
                    0 => return Wait::Event,
                    n => self.sent += n,
                }
            }
            self.out.clear();
            self.sent = 0;
            if self.ending {
                return Wait::Over;
            }
            let step = match self.exchange.take() {
                None => self.read_head(io, id),
                Some(exchange) => self.advance(exchange, io, id, now_ns, scratch),
            };
            if let Step::Wait(wait) = step {
                return wait;
            }
        }
    }

    fn read_head<T: StreamTransport>(&mut self, io: &mut T, id: StreamId) -> Step {
        let before = self.head.len();
        let received = io.readable(id);
        let taken = received.len().min(MAX_HEAD - before);
        self.head.extend_from_slice(&received[..taken]);
        let parsed = head::parse(&self.head);
        match parsed {
            Ok(None) => {
                io.consume(id, taken);
                if taken == 0 { Step::Wait(Wait::Event) } else { Step::Again }
            }
            Ok(Some((head, len))) => {
                // Bytes after the head stay in the transport, which holds back the sender.
                io.consume(id, len.saturating_sub(before));
                self.reset_buffers();
                self.begin(&head);
                Step::Again
            }
            Err(error) => {
                io.consume(id, taken);
                let status = match error {
                    HeadError::Bad => "400 Bad Request",
                    HeadError::TooLarge => "431 Request Header Fields Too Large",
                };
                self.refuse(status);
                Step::Again
            }
        }
    }

    fn begin(&mut self, head: &Head) {
        let reply = match handler::plan(head) {
            Plan::Answer(answer) => Reply::Answer(answer),
            Plan::Sleep(ms) => Reply::Sleep { ms, until: None },
            Plan::Bytes(total) => Reply::Bytes { total, next: None },
            Plan::Discard => Reply::Discard { bytes: 0, crc: crc32fast::Hasher::new() },
            Plan::Echo(media_type) => {
                if head.expects_continue {
                    self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                let keep = head.keep_alive;
                self.out.extend(handler::response_head("200 OK", &media_type, head.framing, keep));
                Reply::Echo { framing: head.framing }
            }
        };
        if head.expects_continue && self.out.is_empty() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.exchange = Some(Exchange {
            content: ContentReader::new(head.framing),
            reply,
            keep_alive: head.keep_alive,
            is_head: head.method == "HEAD",
        });
    }

    /// Performs one step of an exchange, which is put back unless it is finished.
    fn advance<T: StreamTransport>(
        &mut self,
        mut exchange: Exchange,
        io: &mut T,
        id: StreamId,
        now_ns: u64,
        scratch: &mut [u8],
    ) -> Step {
        let step = if exchange.content.is_done() {
            self.reply(&mut exchange, io, id, now_ns, scratch)
        } else {
            match self.read_content(&mut exchange, io, id) {
                Ok(step) => step,
                Err(BadChunk) => {
                    // An echo's head has been sent already: all that remains is to abort the stream.
                    match exchange.reply {
                        Reply::Echo { .. } => self.ending = true,
                        _ => self.refuse("400 Bad Request"),
                    }
                    return Step::Again;
                }
            }
        };
        if matches!(exchange.reply, Reply::Done) {
            self.ending = !exchange.keep_alive;
        } else {
            self.exchange = Some(exchange);
        }
        step
    }

    fn read_content<T: StreamTransport>(
        &mut self,
        exchange: &mut Exchange,
        io: &mut T,
        id: StreamId,
    ) -> Result<Step, BadChunk> {
        let received = io.readable(id);
        if received.is_empty() {
            return Ok(Step::Wait(Wait::Event));
        }
        let piece = exchange.content.next(received, STEP)?;
        let data = &received[piece.skip..piece.skip + piece.data];
        match &mut exchange.reply {
            Reply::Discard { bytes, crc } => {
                *bytes += data.len() as u64;
                crc.update(data);
            }
            Reply::Echo { .. } if exchange.is_head => {}
            Reply::Echo { framing: Framing::Length(_) } => self.out.extend_from_slice(data),
            Reply::Echo { framing: Framing::Chunked } if !data.is_empty() => {
                self.out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.out.extend_from_slice(data);
                self.out.extend_from_slice(b"\r\n");
            }
            _ => {}
        }
        io.consume(id, piece.skip + piece.data);
        Ok(Step::Again)
    }

    /// Sends the response, or the rest of it, after all content has been read.
    fn reply<T: StreamTransport>(
        &mut self,
        exchange: &mut Exchange,
        io: &mut T,
        id: StreamId,
        now_ns: u64,
        scratch: &mut [u8],
    ) -> Step {
        match &mut exchange.reply {
            Reply::Answer(answer) => {
                self.answer(answer, exchange.keep_alive, exchange.is_head);
                exchange.reply = Reply::Done;
            }
            Reply::Discard { bytes, crc } => {
                exchange.reply = Reply::Answer(handler::tally(*bytes, crc.clone().finalize()));
            }
            Reply::Echo { framing } => {
                if *framing == Framing::Chunked && !exchange.is_head {
                    self.out.extend_from_slice(b"0\r\n\r\n");
                }
                exchange.reply = Reply::Done;
            }
            Reply::Sleep { ms, until } => {
                let until = *until.get_or_insert(now_ns.saturating_add(*ms * 1_000_000));
                if now_ns < until {
                    return Step::Wait(Wait::Until(until));
                }
                exchange.reply = Reply::Answer(Answer::text("200 OK", &format!("slept {ms} ms")));
            }
            Reply::Bytes { total, next: None } => {
                let (framing, keep) = (Framing::Length(*total), exchange.keep_alive);
                self.out.extend(handler::response_head("200 OK", "text/plain", framing, keep));
                let start = if exchange.is_head { *total } else { 0 };
                exchange.reply = Reply::Bytes { total: *total, next: Some(start) };
            }
            Reply::Bytes { total, next: Some(next) } if *next < *total => {
                let left = usize::try_from(*total - *next).unwrap_or(usize::MAX);
                // Ask for one byte too many: only a short send triggers an event when there is room again.
                let len = io.send_room(id).saturating_add(1).min(scratch.len()).min(left);
                pattern::fill(*next, &mut scratch[..len]);
                match io.send(id, &scratch[..len]) {
                    0 => return Step::Wait(Wait::Event),
                    n => *next += n as u64,
                }
            }
            Reply::Bytes { .. } | Reply::Done => exchange.reply = Reply::Done,
        }
        Step::Again
    }

    fn answer(&mut self, answer: &Answer, keep_alive: bool, is_head: bool) {
        let framing = Framing::Length(answer.content.len() as u64);
        self.out.extend(handler::response_head(answer.status, answer.media_type, framing, keep_alive));
        if !is_head {
            self.out.extend_from_slice(&answer.content);
        }
    }

    fn refuse(&mut self, status: &'static str) {
        self.answer(&Answer::text(status, status), false, false);
        self.ending = true;
    }

    fn reset_buffers(&mut self) {
        for buffer in [&mut self.head, &mut self.out] {
            buffer.clear();
            buffer.shrink_to(IDLE_CAPACITY);
        }
    }
}
