//! A source that counts down, one number per second, and launches what the request content names. If the
//! countdown is stopped, the response breaks off.

use super::run;
use super::toy_protocol::{LineClient, Lines, text_of};
use crate::exchange::client::Client;
use crate::exchange::source::{FeedProgress, HeadProgress, Hold, Lost, PullProgress, Ready, Source};
use crate::exchange::{Exchange, Status};
use crate::http::h1::Encoder;
use crate::http::{Content, Overflow, Refusal, Reply, Version};
use model::reason::Reason;

/// The context of the countdown.
struct Pad {
    seconds: u32,
    is_stopped: bool,
    launched: u32,
}

struct Countdown {
    left: u32,
    counted: u32,
    cargo: Vec<u8>,
    loaded: bool,
}

impl Countdown {
    fn from(left: u32) -> Self {
        Self { left, counted: 0, cargo: vec![], loaded: false }
    }
}

impl Source<Pad> for Countdown {
    fn feed(&mut self, client: &mut impl Client, _: &mut Pad) -> Result<FeedProgress, Refusal> {
        let mut fed = FeedProgress::default();
        while !client.content_ended() {
            let cargo = &mut self.cargo;
            let moved = client.content(usize::MAX, &mut |content, _| {
                cargo.extend_from_slice(content);
                content.len()
            });
            match moved.map_err(|why| why.refusal())? {
                0 => break,
                _ => fed.moved = true,
            }
        }
        self.loaded = client.content_ended();
        Ok(fed)
    }

    fn head(
        &mut self,
        write: &mut dyn FnMut(&Reply<'_>) -> Result<usize, Overflow>,
        _: &mut Pad,
    ) -> HeadProgress {
        if !self.loaded {
            return HeadProgress::Nothing;
        }
        match write(&Reply::new(200, Content::Unknown)) {
            Ok(_) => HeadProgress::Final(None::<Hold>),
            Err(Overflow) => HeadProgress::Failed(Refusal::new(500, Reason::Internal)),
        }
    }

    fn ready(&self, pad: &Pad) -> Ready {
        match self.left {
            _ if self.counted > self.left => Ready::Finished,
            _ if pad.is_stopped || pad.seconds <= self.counted => Ready::Nothing,
            left => Ready::Bytes(if self.counted == left { self.cargo.len() + 1 } else { 2 }),
        }
    }

    fn pull(&mut self, room: usize, put: &mut dyn FnMut(&[u8], bool), _: &mut Pad) -> PullProgress {
        let is_last = self.counted == self.left;
        let text = match is_last {
            true => [&self.cargo[..], b"!"].concat(),
            false => format!("{} ", self.left - self.counted).into_bytes(),
        };
        if text.len() > room {
            return PullProgress::Nothing;
        }
        put(&text, is_last);
        self.counted += 1;
        PullProgress::Moved
    }

    fn lost(&mut self, _: bool, pad: &mut Pad) -> Option<Lost> {
        pad.is_stopped.then_some(Lost::Fail(Refusal::new(503, Reason::AppShutdown)))
    }

    fn finish(&mut self, pad: &mut Pad) {
        pad.launched += 1;
    }

    fn abandon(&mut self, _: &mut Pad) {}
}

fn pad() -> Pad {
    Pad { seconds: 0, is_stopped: false, launched: 0 }
}

#[test]
fn it_counts_down_by_lines() {
    let (mut client, mut pad) = (LineClient::new("a cat\n.\n", 200), pad());
    let mut exchange = Exchange::new(Lines, Countdown::from(3));
    for second in 0..=3 {
        pad.seconds = second;
        assert_eq!(run(&mut exchange, &mut client, &mut pad), Status::Waiting);
    }
    pad.seconds = 4;
    assert_eq!(run(&mut exchange, &mut client, &mut pad), Status::Done);
    assert_eq!(text_of(core::str::from_utf8(&client.output).unwrap()), "200 3 2 1 a cat!.");
    assert_eq!((exchange.status(), pad.launched), (200, 1));
}

#[test]
fn it_counts_down_in_chunks_of_http() {
    let (mut client, mut pad) = (LineClient::new("a cat\n.\n", 200), pad());
    pad.seconds = 9;
    let mut exchange = Exchange::new(Encoder::new(Version::Http11, false, true), Countdown::from(1));
    assert_eq!(run(&mut exchange, &mut client, &mut pad), Status::Done);
    let text = String::from_utf8(client.output).unwrap();
    assert!(text.ends_with("\r\n\r\n2\r\n1 \r\n6\r\na cat!\r\n0\r\n\r\n"), "{text}");
}

#[test]
fn a_stopped_source_is_an_error_before_its_head_and_a_break_after() {
    let (mut client, mut pad) = (LineClient::new("a cat\n", 200), pad());
    let mut exchange = Exchange::new(Lines, Countdown::from(3));
    assert_eq!(run(&mut exchange, &mut client, &mut pad), Status::Waiting, "there is no cargo yet");
    pad.is_stopped = true;
    let refusal = Refusal::new(503, Reason::AppShutdown);
    assert_eq!(run(&mut exchange, &mut client, &mut pad), Status::Failed(refusal));
    pad.is_stopped = false;
    client.input.extend_from_slice(b".\n");
    pad.seconds = 1;
    assert_eq!(run(&mut exchange, &mut client, &mut pad), Status::Waiting);
    pad.is_stopped = true;
    assert_eq!(run(&mut exchange, &mut client, &mut pad), Status::Broken(Reason::AppShutdown));
    assert_eq!(text_of(core::str::from_utf8(&client.output).unwrap()), "200 3 ");
}
