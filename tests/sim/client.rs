//! A client machine: one address, one connection at a time, a script of requests, and a check of every response byte.

use crate::nic::MAC;
use crate::rough::Rough;
use crate::secure::Secure;
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use std::collections::VecDeque;

/// Expected response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    /// Expected content; `None` for a HEAD or 304, which must have none.
    pub content: Option<Vec<u8>>,
}

/// A request and its expected response.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Vec<u8>,
    pub expected: Expected,
    /// The response may be visibly truncated instead, because a worker may crash.
    pub may_break: bool,
}

/// Result of a client that is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub answered: usize,
    pub broken: usize,
    pub connections: usize,
}

pub struct Client {
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    wire: Wire,
    address: [u8; 4],
    port: u16,
    todo: VecDeque<Exchange>,
    /// Number of requests sent before waiting for their responses.
    pipeline: usize,
    sent: usize,
    saying: Vec<u8>,
    received: Vec<u8>,
    started: bool,
    /// Stay connected after the script.
    pub stay: bool,
    /// Retry if a connection ends before the first byte of the response, as clients do with keep-alive connections.
    pub retries: bool,
    /// Never repeat a request that may have been received, even without a single byte of a response.
    pub gives_up: bool,
    /// Never read anything.
    pub deaf: bool,
    /// The machine has vanished: it neither receives nor sends.
    pub dead: bool,
    /// Send requests in one piece.
    pub whole: bool,
    /// Port of the appliance.
    pub server_port: u16,
    /// TLS, if used.
    pub secure: Option<Box<Secure>>,
    /// Send this repeatedly and discard the responses.
    pub pull: Option<Vec<u8>>,
    /// Do this instead of a script, on one connection.
    pub rough: Option<Rough>,
    /// Bytes received, whatever they were.
    pub got: u64,
    rng: fastrand::Rng,
    pub tally: Tally,
    pub failure: Option<String>,
}

#[derive(Default)]
struct Wire {
    arriving: VecDeque<Vec<u8>>,
    leaving: Vec<Vec<u8>>,
}

impl Client {
    pub fn new(number: usize, script: Vec<Exchange>, buffer: usize, pipeline: usize, seed: u64) -> Self {
        let address = Self::address_of(number);
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut iface = Interface::new(config, &mut wire, Instant::ZERO);
        let [a, b, c, d] = address;
        iface.update_ip_addrs(|list| {
            list.push(IpCidr::new(IpAddress::v4(a, b, c, d), 8)).expect("an empty list has room");
        });
        iface
            .routes_mut()
            .add_default_ipv4_route(Ipv4Address::new(10, 0, 0, 1))
            .expect("an empty table has room");
        let mut sockets = SocketSet::new(vec![]);
        let ring = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(ring(), ring());
        socket.set_nagle_enabled(false);
        let handle = sockets.add(socket);
        Self {
            iface,
            sockets,
            handle,
            wire,
            address,
            port: 20_000,
            todo: script.into(),
            pipeline,
            sent: 0,
            saying: Vec::new(),
            received: Vec::new(),
            started: false,
            stay: false,
            retries: false,
            gives_up: false,
            deaf: false,
            dead: false,
            whole: false,
            server_port: 80,
            secure: None,
            pull: None,
            rough: None,
            got: 0,
            rng: fastrand::Rng::with_seed(seed),
            tally: Tally::default(),
            failure: None,
        }
    }

    /// Acts as another client's second connection: from its address, with another port.
    pub fn share(&mut self, number: usize, port: u16) {
        self.address = Self::address_of(number);
        self.port = port;
        let [a, b, c, d] = self.address;
        self.iface.update_ip_addrs(|list| {
            list.clear();
            list.push(IpCidr::new(IpAddress::v4(a, b, c, d), 8)).expect("an empty list has room");
        });
    }

    fn address_of(number: usize) -> [u8; 4] {
        [10, 1 + (number >> 16) as u8, (number >> 8) as u8, number as u8]
    }

    pub fn is_done(&self) -> bool {
        self.failure.is_some() || (self.todo.is_empty() && self.rough.as_ref().is_none_or(Rough::is_done))
    }

    pub fn deliver(&mut self, frame: &[u8]) {
        if self.dead {
            return;
        }
        self.wire.arriving.push_back(frame[14..].to_vec());
    }

    /// Adds requests for the existing connection.
    pub fn ask(&mut self, exchange: Exchange) {
        self.todo.push_back(exchange);
    }

    /// Disconnects in the middle of whatever it is doing.
    pub fn leave(&mut self) {
        self.todo.clear();
        self.stay = false;
        self.sockets.get_mut::<tcp::Socket>(self.handle).abort();
    }

    /// Sends FIN after everything sent so far, and keeps reading; it does not connect again.
    pub fn half_close(&mut self) {
        self.stay = false;
        self.sockets.get_mut::<tcp::Socket>(self.handle).close();
    }

    /// Sends bytes that are not a request.
    pub fn say(&mut self, bytes: &[u8]) {
        self.saying.extend_from_slice(bytes);
    }

    /// Whether these bytes are among those received that are not part of a response.
    pub fn has_received(&self, bytes: &[u8]) -> bool {
        self.received.windows(bytes.len()).any(|w| w == bytes)
    }

    /// The client that a frame from the appliance is for.
    pub fn number_of(frame: &[u8]) -> Option<usize> {
        let to = frame.get(30..34).filter(|_| frame[12..14] == [8, 0])?;
        (to[0] == 10 && to[1] >= 1)
            .then(|| usize::from(to[1] - 1) << 16 | usize::from(to[2]) << 8 | usize::from(to[3]))
    }

    /// Does everything possible now; returns frames to send, and when to run again.
    pub fn poll(&mut self, now_ns: u64) -> (Vec<Vec<u8>>, Option<u64>) {
        if self.dead {
            return (Vec::new(), None);
        }
        let now = Instant::from_micros((now_ns / 1000) as i64);
        while !self.wire.arriving.is_empty() {
            self.iface.poll_ingress_single(now, &mut self.wire, &mut self.sockets);
        }
        self.talk(now_ns);
        while self.iface.poll_egress(now, &mut self.wire, &mut self.sockets) == PollResult::SocketStateChanged
        {
        }
        let next = self
            .iface
            .poll_at(now, &self.sockets)
            .map(|t| (t.total_micros() as u64 * 1000).max(now_ns + 1000));
        let unsatisfied = !self.is_done() || self.pull.is_some();
        let unsent = self.secure.as_ref().is_some_and(|secure| secure.sends_in_pieces());
        let again = ((!self.started && unsatisfied) || unsent).then_some(now_ns + 1_000_000);
        let due = self.rough.as_ref().and_then(Rough::wake_at).map(|at| at.max(now_ns + 1));
        let next = [next, again, due].into_iter().flatten().min();
        let mut header = [0; 14];
        header[..6].copy_from_slice(&MAC);
        header[6..12].copy_from_slice(&[
            2,
            0,
            self.address[0],
            self.address[1],
            self.address[2],
            self.address[3],
        ]);
        header[12..].copy_from_slice(&[8, 0]);
        (self.wire.leaving.drain(..).map(|packet| [&header[..], &packet].concat()).collect(), next)
    }

    fn talk(&mut self, now_ns: u64) {
        if self.is_done() && !self.stay && self.pull.is_none() {
            if !self.received.is_empty() && self.failure.is_none() && self.pipeline == 1 {
                self.failure = Some(format!("{} bytes that nobody asked for", self.received.len()));
            }
            self.sockets.get_mut::<tcp::Socket>(self.handle).close();
            return;
        }
        let socket = self.sockets.get_mut::<tcp::Socket>(self.handle);
        if !socket.is_open() {
            if self.started && self.rough.is_none() {
                return self.on_end();
            }
            if let Some(rough) = self.rough.as_mut().filter(|_| self.started) {
                return rough.talk(socket, now_ns);
            }
            if self.todo.is_empty() && self.pull.is_none() && self.rough.is_none() {
                return;
            }
            self.started = true;
            self.tally.connections += 1;
            self.sent = 0;
            self.received.clear();
            self.port += 1;
            if let Some(secure) = &mut self.secure {
                secure.begin();
            }
            let server = (IpAddress::v4(10, 0, 0, 1), self.server_port);
            socket.connect(self.iface.context(), server, self.port).expect("a closed socket connects");
            return;
        }
        if let Some(rough) = &mut self.rough {
            return rough.talk(socket, now_ns);
        }
        while socket.can_recv() && !self.deaf {
            let (received, keep, secure) = (&mut self.received, self.pull.is_none(), &mut self.secure);
            let step = socket.recv(|bytes| {
                let result = match secure {
                    Some(secure) => secure.receive(bytes, received),
                    None => {
                        received.extend_from_slice(if keep { bytes } else { &[] });
                        Ok(())
                    }
                };
                (bytes.len(), result.map(|()| bytes.len()))
            });
            match step.expect("it can receive") {
                Ok(len) => self.got += len as u64,
                Err(error) => {
                    self.failure = Some(format!("TLS: {error}"));
                    return;
                }
            }
        }
        if let Some(secure) = &mut self.secure {
            secure.send(|bytes| if socket.can_send() { socket.send_slice(bytes).unwrap_or(0) } else { 0 });
        }
        if let Some(request) = &self.pull {
            while socket.can_send() {
                let sent = socket.send_slice(&request[self.sent..]).expect("it can send");
                self.sent = (self.sent + sent) % request.len();
            }
            return;
        }
        while let Some(exchange) = self.todo.front() {
            match answer(&self.received, &exchange.expected) {
                Ok(None) => break,
                Ok(Some(len)) => {
                    self.received.drain(..len);
                    // A response may arrive before all of the request was sent.
                    self.sent = self.sent.saturating_sub(exchange.request.len());
                    self.todo.pop_front();
                    self.tally.answered += 1;
                }
                // The error for an exchange that lost its worker twice, or whose worker was silent; the connection ends after it.
                Err(Wrong::Status(502 | 504)) if exchange.may_break => break,
                Err(why) => {
                    self.failure = Some(why.to_string());
                    return;
                }
            }
        }
        if socket.can_send() && !self.saying.is_empty() {
            let sent = socket.send_slice(&self.saying).unwrap_or(0);
            self.saying.drain(..sent);
        }
        let mut at = self.sent;
        let unsent = self.todo.iter().take(self.pipeline).find_map(|exchange| {
            let rest = exchange.request.get(at..).filter(|rest| !rest.is_empty());
            at = at.saturating_sub(exchange.request.len());
            rest
        });
        if let Some(rest) = unsent
            && socket.can_send()
        {
            // In pieces of any size, because a head may be split anywhere.
            let piece = if self.whole { rest.len() } else { self.rng.usize(1..=rest.len()) };
            self.sent += match &mut self.secure {
                Some(secure) => {
                    let taken = secure.write(&rest[..piece]);
                    secure.send(|bytes| socket.send_slice(bytes).unwrap_or(0));
                    taken
                }
                None => socket.send_slice(&rest[..piece]).unwrap_or(0),
            };
        }
        if !socket.may_recv() && socket.state() != tcp::State::SynSent {
            self.on_end();
        }
    }

    /// The appliance ended the connection.
    fn on_end(&mut self) {
        self.started = false;
        self.sockets.get_mut::<tcp::Socket>(self.handle).abort();
        let Some(exchange) = self.todo.front() else { return };
        let begun = !self.received.is_empty();
        if exchange.may_break || (self.retries && !begun) {
            if begun || (self.gives_up && self.sent > 0) {
                self.tally.broken += 1;
                self.todo.pop_front();
                self.received.clear();
            }
        } else {
            let request =
                String::from_utf8_lossy(&exchange.request[..exchange.request.len().min(60)]).into_owned();
            let got = self.received.len();
            self.failure = Some(format!("connection ended with {got} bytes of the answer to {request:?}"));
        }
    }
}

/// Describes what is wrong with a response.
enum Wrong {
    Status(u16),
    Other(String),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "unexpected status {status}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// The length of a complete and correct response at the start of `bytes`; `None` while it is incomplete.
fn answer(bytes: &[u8], expected: &Expected) -> Result<Option<usize>, Wrong> {
    let mut fields = [httparse::EMPTY_HEADER; 512];
    let mut head = httparse::Response::new(&mut fields);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => {
            return Err(Wrong::Other(format!("does not parse: {error}: {}", String::from_utf8_lossy(bytes))));
        }
    };
    let status = head.code.unwrap_or(0);
    if status == 100 {
        return answer(&bytes[head_len..], expected).map(|len| len.map(|len| head_len + len));
    }
    if status != expected.status {
        return Err(Wrong::Status(status));
    }
    let dates = head.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("date")).count();
    if status >= 200 && dates != 1 {
        return Err(Wrong::Other(format!("{dates} Date fields in {status}, expected one")));
    }
    let field = |name: &str| {
        let found = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        found.map(|h| String::from_utf8_lossy(h.value).into_owned())
    };
    let Some(content) = &expected.content else { return Ok(Some(head_len)) };
    let rest = &bytes[head_len..];
    let (got, len) = if field("transfer-encoding").is_some() {
        match unchunk(rest).map_err(Wrong::Other)? {
            Some(decoded) => decoded,
            None => return Ok(None),
        }
    } else {
        let len: usize = field("content-length")
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| Wrong::Other("no Content-Length".into()))?;
        match rest.get(..len) {
            Some(content) => (content.to_vec(), len),
            None => return Ok(None),
        }
    };
    if &got != content {
        let at = got.iter().zip(content).position(|(a, b)| a != b);
        let (got, want) = (got.len(), content.len());
        return Err(Wrong::Other(format!(
            "content of {got} bytes differs at {at:?} (expected {want} bytes)"
        )));
    }
    Ok(Some(head_len + len))
}

fn unchunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete((line, size))) => {
                let (start, end) = (at + line, at + line + size as usize);
                if bytes.len() < end + 2 {
                    return Ok(None);
                }
                out.extend_from_slice(&bytes[start..end]);
                at = end + 2;
                if size == 0 {
                    return Ok(Some((out, at)));
                }
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("chunk size does not parse".into()),
        }
    }
}

impl Device for Wire {
    type RxToken<'a> = Arriving;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arriving, Leaving<'_>)> {
        Some((Arriving(self.arriving.pop_front()?), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = 1500;
        caps
    }
}

pub struct Arriving(Vec<u8>);

impl RxToken for Arriving {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub struct Leaving<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}
