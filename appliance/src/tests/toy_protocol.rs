//! A line-based protocol. A request is a path on a line, followed by lines of content up to one with a dot. A
//! response is its status on a line, then `N:` before each piece of N bytes, and finally `.`, or `!` if it
//! breaks off.

use super::run;
use crate::exchange::client::{Client, ContentEnd};
use crate::exchange::source::Memory;
use crate::exchange::{Exchange, Status};
use crate::http::{DataFraming, Encode, Overflow, Reply, Reset, Sink};
use model::date::DateCache;

/// Writes responses as lines.
pub(super) struct Lines;

impl Encode for Lines {
    fn head(&mut self, reply: &Reply<'_>, _: &DateCache, out: &mut Sink<'_>) -> Result<(), Overflow> {
        if reply.is_interim() {
            return Ok(());
        }
        out.put_decimal(reply.status.into())?;
        out.put(b"\n")
    }

    fn overhead(&self) -> usize {
        DataFraming::MAX_BEFORE + 1
    }

    fn data(&mut self, len: usize, last: bool) -> DataFraming {
        DataFraming::new(format!("{len}:").as_bytes(), if last { b"." } else { b"" })
    }

    fn end(&mut self) -> &'static [u8] {
        b"."
    }

    fn reset(&mut self) -> Reset {
        Reset::Says(b"!")
    }

    fn content_unread(&mut self) {}

    fn is_head_request(&self) -> bool {
        false
    }
}

/// A client that has sent `input` and accepts `window` bytes.
pub(super) struct LineClient {
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    pub(super) window: usize,
    held: Vec<u8>,
    content_ended: bool,
}

impl LineClient {
    pub(super) fn new(input: &str, window: usize) -> Self {
        Self { input: input.into(), output: vec![], window, held: vec![], content_ended: false }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.input.iter().position(|b| *b == b'\n')?;
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        Some(line)
    }

    pub(super) fn opens(&mut self, window: usize) {
        self.window += window;
        let held = core::mem::take(&mut self.held);
        self.send(&held, 0);
    }
}

impl Client for LineClient {
    fn send(&mut self, bytes: &[u8], _: usize) {
        let (now, later) = bytes.split_at(bytes.len().min(self.window));
        self.write(now);
        self.held.extend_from_slice(later);
    }

    fn is_blocked(&self) -> bool {
        !self.held.is_empty()
    }

    fn room(&mut self, wanted: usize) -> usize {
        wanted.min(self.window)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.window -= bytes.len();
        self.output.extend_from_slice(bytes);
    }

    fn prefers_merged_writes(&self) -> bool {
        true
    }

    fn content(&mut self, _: usize, take: &mut dyn FnMut(&[u8], bool) -> usize) -> Result<usize, ContentEnd> {
        let Some(line) = self.line() else { return Ok(0) };
        self.content_ended = line == b".";
        let content = if self.content_ended { &[][..] } else { &line };
        take(content, self.content_ended);
        Ok(line.len() + 1)
    }

    fn content_ended(&self) -> bool {
        self.content_ended
    }

    fn switch_protocol(&mut self) {}
}

/// The files of this server.
fn find(path: &[u8]) -> (u16, &'static [u8]) {
    if path == b"/hello" { (200, b"hello, world") } else { (404, b"no such thing") }
}

#[test]
fn files_are_served_by_lines_as_far_as_the_client_has_room() {
    let mut client = LineClient::new("/hello\n/nothing\n", 30);
    for expected in ["200\n5:hello7:, world.", "404\n13:no such thing."] {
        let path = client.line().unwrap();
        let (status, content) = find(&path);
        client.send(format!("{status}\n").as_bytes(), content.len());
        let mut exchange = Exchange::answered(Lines, Memory::new(content), status);
        let mut status = run(&mut exchange, &mut client, &mut ());
        while status == Status::Waiting {
            client.opens(24);
            status = run(&mut exchange, &mut client, &mut ());
        }
        assert_eq!(status, Status::Done);
        let output = String::from_utf8(core::mem::take(&mut client.output)).unwrap();
        // Where pieces end depends on the window.
        assert_eq!(text_of(&output), text_of(expected), "{output}");
        client.opens(100 - client.window);
    }
}

/// A response without the lengths of its pieces.
pub(super) fn text_of(response: &str) -> String {
    let (head, mut pieces) = response.split_once('\n').unwrap();
    let mut text = format!("{head} ");
    while let Some((len, rest)) = pieces.split_once(':') {
        let (piece, rest) = rest.split_at(len.parse().unwrap());
        text += piece;
        pieces = rest;
    }
    text + pieces
}
