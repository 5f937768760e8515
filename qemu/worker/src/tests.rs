//! The server on an in-memory transport.

use crate::fake::FakeTransport;
use crate::pattern;
use crate::server::{MAX_STREAMS, Server};
use netdrv::stream::StreamTransport;

/// Window and arrival sizes from hostile to comfortable.
const SHAPES: [(usize, usize); 4] = [(17, 1), (64, 64), (4096, 1000), (1 << 16, 1 << 16)];

struct Run {
    io: FakeTransport,
    server: Server,
    now_ns: u64,
}

impl Run {
    fn new((window, piece): (usize, usize)) -> Self {
        let mut io = FakeTransport::new(window, piece);
        let server = Server::new(&mut io, 80);
        Self { io, server, now_ns: 0 }
    }

    fn turn(&mut self) {
        self.io.poll(self.now_ns);
        self.server.turn(&mut self.io, self.now_ns);
    }

    /// Sends `request` on a new stream and reads until nothing more arrives; true if the server ended the stream.
    fn exchange(&mut self, request: &[u8]) -> (Vec<u8>, bool) {
        let slot = self.io.open();
        self.io.write(slot, request);
        let answer = self.drain(slot, request.len());
        (answer, self.io.is_over(slot))
    }

    fn drain(&mut self, slot: u16, sent: usize) -> Vec<u8> {
        let (mut answer, mut quiet) = (Vec::new(), 0);
        // The quiet time must exceed the duration of a request that arrives byte by byte.
        while quiet < sent + 3 {
            self.turn();
            let got = self.io.read(slot);
            quiet = if got.is_empty() { quiet + 1 } else { 0 };
            answer.extend(got);
        }
        answer
    }
}

fn one(request: &str) -> (String, bool) {
    let answers: Vec<_> = SHAPES.iter().map(|&shape| Run::new(shape).exchange(request.as_bytes())).collect();
    assert!(
        answers.iter().all(|a| *a == answers[0]),
        "the answer depends on how the bytes arrive: {answers:?}"
    );
    (String::from_utf8(answers[0].0.clone()).unwrap(), answers[0].1)
}

#[test]
fn hello_keeps_the_stream() {
    let (answer, over) = one("GET /api/hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello from a worker VM\n"),
        "{answer}"
    );
    assert!(!over);
    let (answer, over) = one("GET /api/hello HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("\r\nConnection: close\r\n") && over);
    assert!(one("GET /api/hello HTTP/1.0\r\n\r\n").1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (answer, _) = one(
        "POST /api/echo HTTP/1.1\r\nContent-Length: 3\r\n\r\noneGET /api/nothing HTTP/1.1\r\n\r\n\
         POST /api/echo HTTP/1.1\r\nContent-Length: 3\r\nContent-Type: a/b\r\n\r\ntwoHEAD /api/hello HTTP/1.1\r\n\r\n",
    );
    let at = |needle: &str| answer.find(needle).unwrap_or_else(|| panic!("no {needle:?} in {answer}"));
    assert!(at("\r\n\r\none") < at("HTTP/1.1 404") && at("HTTP/1.1 404") < at("Content-Type: a/b"));
    assert!(at("Content-Type: a/b") < at("\r\n\r\ntwo") && answer.ends_with("Content-Length: 23\r\n\r\n"));
}

#[test]
fn echo_keeps_the_framing() {
    let head = "POST /api/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    // The sizes of chunks depend on arrival, so only one shape is compared exactly.
    let request = format!("{head}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    let (answer, over) = Run::new(SHAPES[3]).exchange(request.as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n") && !over, "{answer}");
}

#[test]
fn large_content_passes_through_small_buffers() {
    let mut content = vec![0; 300_000];
    pattern::fill(0, &mut content);
    for shape in &SHAPES[1..] {
        let mut request = b"POST /api/echo HTTP/1.1\r\nContent-Length: 300000\r\n\r\n".to_vec();
        request.extend(&content);
        let (answer, _) = Run::new(*shape).exchange(&request);
        assert_eq!(pattern::mismatch(0, &answer[answer.len() - content.len()..]), None);
        let (answer, _) = Run::new(*shape).exchange(b"GET /api/bytes/300000 HTTP/1.1\r\n\r\n");
        assert_eq!(pattern::mismatch(0, &answer[answer.len() - content.len()..]), None);
    }
}

#[test]
fn discard_states_length_and_checksum() {
    let (answer, _) =
        one("POST /api/discard HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n");
    assert!(answer.ends_with("{\"bytes\":9,\"crc32\":\"cbf43926\"}\n"), "{answer}");
}

#[test]
fn headers_are_shown_as_json() {
    let (answer, _) = one("GET /api/headers?q=\"\\ HTTP/1.1\r\nHost: a\r\nX-Odd: tab\there\r\n\r\n");
    let json = "{\"method\":\"GET\",\"target\":\"/api/headers?q=\\\"\\\\\",\"version\":\"1.1\",\
                \"fields\":[[\"Host\",\"a\"],[\"X-Odd\",\"tab\\u0009here\"]]}\n";
    assert!(answer.ends_with(json), "{answer}");
}

#[test]
fn sleep_waits_for_its_time() {
    let mut run = Run::new(SHAPES[3]);
    let slot = run.io.open();
    run.io.write(slot, b"GET /api/sleep/50 HTTP/1.1\r\n\r\n");
    assert!(run.drain(slot, 0).is_empty());
    assert_eq!(run.server.wake_at(), Some(50_000_000));
    run.now_ns = 50_000_000;
    assert!(String::from_utf8(run.drain(slot, 0)).unwrap().ends_with("slept 50 ms\n"));
    assert_eq!(run.server.wake_at(), None);
}

#[test]
fn bad_requests_end_the_stream() {
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(20_000));
    for (request, status) in [
        ("nonsense\r\n\r\n", "400"),
        ("POST /api/echo HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ("POST /api/echo HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "400"),
        ("POST /api/discard HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
        (&long, "431"),
    ] {
        let (answer, over) = one(request);
        assert!(over && answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60} → {answer}");
    }
}

#[test]
fn streams_are_bounded_and_given_back() {
    let mut run = Run::new(SHAPES[2]);
    let slots: Vec<_> = (0..MAX_STREAMS + 3).map(|_| run.io.open()).collect();
    run.turn();
    assert_eq!((run.server.streams(), run.server.refused), (MAX_STREAMS, 3));
    for &slot in &slots[..MAX_STREAMS] {
        run.io.close(slot);
    }
    run.turn();
    assert_eq!(run.server.streams(), 0);
    assert!(slots.iter().all(|&slot| run.io.is_over(slot)));
}
