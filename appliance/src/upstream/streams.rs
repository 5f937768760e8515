//! The transport as pools see it: streams whose links are secured carry plaintext on this side and TLS on the other.
//!
//! A secured stream is connected when its handshake is complete. Its end is orderly only if the worker said so
//! (close_notify); a stream that just stops was cut, and what came over it may lack its end (RFC 8446 §6.1).

use crate::time::Instant;
use crate::tls::link::{Fault, LinkTls, Session};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use netdrv::stream::{CloseReason, ConnectError, StreamEvent, StreamId, StreamTransport, VsockAddr};

/// Longest handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// What a record adds: header, content type, tag.
const RECORD_OVERHEAD: usize = 5 + 1 + 16;

/// What happened to secured links, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecureCounters {
    /// Handshakes completed.
    pub handshakes: u64,
    /// Workers whose certificate has expired or is not valid yet.
    pub expired: u64,
    /// Workers whose certificate is for another name.
    pub other_name: u64,
    /// Workers whose certificate leads to no trust anchor.
    pub untrusted: u64,
    /// Handshakes that failed otherwise, took too long, or were cut.
    pub failed: u64,
    /// Links that broke after the handshake; a worker that refuses our certificate does that.
    pub broken: u64,
    /// Links that were cut without a word that it is the end.
    pub cut: u64,
}

impl SecureCounters {
    fn count(&mut self, fault: Fault) {
        match fault {
            Fault::Closed => {}
            Fault::Expired => self.expired += 1,
            Fault::OtherName => self.other_name += 1,
            Fault::Untrusted => self.untrusted += 1,
            Fault::Handshake => self.failed += 1,
            Fault::Broken => self.broken += 1,
        }
    }
}

/// A stream with TLS.
struct Secured {
    stream: StreamId,
    config: Arc<LinkTls>,
    /// From when the transport's stream is open.
    session: Option<Session>,
    /// When the handshake must be complete; `None` before and after it.
    deadline: Option<Instant>,
    /// The transport's stream has ended.
    ended: Option<CloseReason>,
    /// The end was passed on.
    told: bool,
    /// Somebody waits for room.
    starved: bool,
    /// Questions that began.
    asked: u32,
}

impl Secured {
    fn new(stream: StreamId, config: Arc<LinkTls>) -> Self {
        Self {
            stream,
            config,
            session: None,
            deadline: None,
            ended: None,
            told: false,
            starved: false,
            asked: 0,
        }
    }

    fn plaintext(&self) -> &[u8] {
        self.session.as_ref().map_or(&[], Session::plaintext)
    }

    /// Moves what can be moved between the session and the transport.
    fn carry(&mut self, transport: &mut impl StreamTransport) {
        let stream = self.stream;
        let Some(session) = &mut self.session else { return };
        loop {
            let sent = match session.output() {
                [] => 0,
                output => transport.send(stream, output),
            };
            session.sent(sent);
            let taken = match transport.readable(stream) {
                [] => 0,
                input => session.receive(input),
            };
            transport.consume(stream, taken);
            if sent + taken == 0 {
                return;
            }
        }
    }

    /// The end, if it has come and was not told.
    fn end(&mut self, transport: &impl StreamTransport) -> Option<(CloseReason, Option<Fault>)> {
        if self.told {
            return None;
        }
        let fault = self.session.as_ref().and_then(Session::fault);
        let reason = match (fault, self.ended) {
            (Some(Fault::Closed), _) => CloseReason::Shutdown,
            (Some(_), _) => CloseReason::Protocol,
            // What still lies in the transport may say that it is the end.
            (None, Some(CloseReason::Shutdown)) if !transport.readable(self.stream).is_empty() => {
                return None;
            }
            (None, Some(CloseReason::Shutdown)) => CloseReason::Reset,
            (None, Some(reason)) => reason,
            (None, None) => return None,
        };
        self.told = true;
        Some((reason, fault))
    }
}

/// A transport and the TLS sessions on some of its streams.
pub struct Streams<S> {
    pub(super) transport: S,
    /// By slot of the stream.
    secured: Vec<Option<Secured>>,
    events: VecDeque<StreamEvent>,
    /// Streams that are being connected, and what they are to begin with.
    names: Vec<(StreamId, u64)>,
    now: Instant,
    counters: SecureCounters,
}

impl<S: StreamTransport> Streams<S> {
    pub(super) fn new(transport: S) -> Self {
        Self {
            transport,
            secured: Vec::new(),
            events: VecDeque::new(),
            names: Vec::new(),
            now: Instant::ZERO,
            counters: SecureCounters::default(),
        }
    }

    /// A stream that should not carry further requests: its keys have done what they should.
    pub(super) fn is_worn(&self, stream: StreamId) -> bool {
        self.get(stream).and_then(|secured| secured.session.as_ref()).is_some_and(Session::is_worn)
    }

    /// The transport underneath.
    pub fn transport(&mut self) -> &mut S {
        &mut self.transport
    }

    pub(super) fn counters(&self) -> SecureCounters {
        self.counters
    }

    /// Has a stream that was just opened carry TLS.
    pub(super) fn secure(&mut self, stream: StreamId, config: Arc<LinkTls>) {
        let slot = usize::from(stream.slot);
        if self.secured.len() <= slot {
            self.secured.resize_with(slot + 1, || None);
        }
        self.secured[slot] = Some(Secured::new(stream, config));
    }

    /// Has a stream that was just opened begin with its name, before everything else and in the clear.
    pub(super) fn begin_with(&mut self, stream: StreamId, name: u64) {
        self.names.push((stream, name));
    }

    /// False if the name of a stream that has just been connected found no room.
    fn send_name(&mut self, stream: StreamId) -> bool {
        let Some(at) = self.names.iter().position(|(waiting, _)| *waiting == stream) else { return true };
        let name = self.names.swap_remove(at).1.to_le_bytes();
        self.transport.send(stream, &name) == name.len()
    }

    fn get(&self, stream: StreamId) -> Option<&Secured> {
        self.secured.get(usize::from(stream.slot))?.as_ref().filter(|s| s.stream == stream)
    }

    fn get_mut(&mut self, stream: StreamId) -> Option<&mut Secured> {
        self.secured.get_mut(usize::from(stream.slot))?.as_mut().filter(|s| s.stream == stream)
    }

    fn on_event(&mut self, event: StreamEvent) {
        let (StreamEvent::Connected(stream)
        | StreamEvent::Readable(stream)
        | StreamEvent::Writable(stream)
        | StreamEvent::Closed(stream, _)
        | StreamEvent::Accepted { stream, .. }) = event;
        let deadline = self.now + HANDSHAKE_LIMIT;
        // A peer with no room for the first bytes of a stream breaks the protocol.
        let event = match event {
            StreamEvent::Connected(_) if !self.send_name(stream) => {
                StreamEvent::Closed(stream, CloseReason::Protocol)
            }
            event => event,
        };
        let Some(secured) = self.get_mut(stream) else { return self.events.push_back(event) };
        match event {
            StreamEvent::Connected(_) => match Session::start(secured.config.clone()) {
                Ok(session) => (secured.session, secured.deadline) = (Some(session), Some(deadline)),
                // No random numbers: not the worker's fault.
                Err(_) => secured.ended = Some(CloseReason::TransportReset),
            },
            StreamEvent::Closed(_, reason) => secured.ended = Some(reason),
            _ => {}
        }
        self.pump(stream, true);
    }

    /// Moves bytes and says what came of it; whoever is just reading sees new plaintext without being told.
    fn pump(&mut self, stream: StreamId, tell_readable: bool) {
        let Self { transport, secured, events, counters, .. } = self;
        let found = secured.get_mut(usize::from(stream.slot)).and_then(Option::as_mut);
        let Some(secured) = found.filter(|s| s.stream == stream) else { return };
        let had = !secured.plaintext().is_empty();
        secured.carry(transport);
        let open = secured.session.as_ref().is_some_and(Session::is_established);
        if open && secured.deadline.take().is_some() {
            counters.handshakes += 1;
            events.push_back(StreamEvent::Connected(stream));
        }
        if tell_readable && !had && !secured.plaintext().is_empty() {
            events.push_back(StreamEvent::Readable(stream));
        }
        if secured.starved && secured.session.as_ref().is_some_and(|session| session.output().is_empty()) {
            secured.starved = false;
            events.push_back(StreamEvent::Writable(stream));
        }
        let Some((reason, fault)) = secured.end(transport) else { return };
        match fault {
            Some(fault) => counters.count(fault),
            None if open => counters.cut += 1,
            None if secured.session.is_some() => counters.failed += 1,
            None => {}
        }
        events.push_back(StreamEvent::Closed(stream, reason));
    }

    /// A handshake that takes too long.
    fn late(&self) -> Option<StreamId> {
        let late = |s: &&Secured| s.deadline.is_some_and(|deadline| deadline <= self.now);
        self.secured.iter().flatten().find(late).map(|s| s.stream)
    }
}

impl<S: StreamTransport> StreamTransport for Streams<S> {
    fn poll(&mut self, now_ns: u64) {
        self.now = Instant::from_nanos(now_ns);
        self.transport.poll(now_ns);
        while let Some(event) = self.transport.next_event() {
            self.on_event(event);
        }
        while let Some(stream) = self.late() {
            if let Some(secured) = self.get_mut(stream) {
                (secured.deadline, secured.ended) = (None, Some(CloseReason::TimedOut));
            }
            self.pump(stream, false);
        }
    }

    fn next_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn next_deadline(&self) -> Option<u64> {
        let handshakes = self.secured.iter().flatten().filter_map(|s| s.deadline).min();
        handshakes.map(Instant::as_nanos).into_iter().chain(self.transport.next_deadline()).min()
    }

    fn connect(&mut self, peer: VsockAddr, now_ns: u64) -> Result<StreamId, ConnectError> {
        self.transport.connect(peer, now_ns)
    }

    fn listen(&mut self, port: u32) {
        self.transport.listen(port);
    }

    fn readable(&self, stream: StreamId) -> &[u8] {
        match self.get(stream) {
            Some(secured) => secured.plaintext(),
            None => self.transport.readable(stream),
        }
    }

    fn consume(&mut self, stream: StreamId, n: usize) {
        let Some(secured) = self.get_mut(stream) else { return self.transport.consume(stream, n) };
        if let Some(session) = &mut secured.session {
            session.consume(n);
        }
        self.pump(stream, false);
    }

    fn send_room(&self, stream: StreamId) -> usize {
        match self.get(stream) {
            None => self.transport.send_room(stream),
            Some(secured) => secured.session.as_ref().map_or(0, |session| match session.output() {
                [] => self.transport.send_room(stream).saturating_sub(RECORD_OVERHEAD),
                _ => 0,
            }),
        }
    }

    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize {
        if self.get(stream).is_none() {
            return self.transport.send(stream, data);
        }
        let mut total = 0;
        while let Some(rest) = data.get(total..).filter(|rest| !rest.is_empty()) {
            let Some(secured) = self.get_mut(stream) else { break };
            let sent = secured.session.as_mut().map_or(0, |session| session.send(rest));
            secured.starved = sent == 0;
            if sent == 0 {
                break;
            }
            total += sent;
            self.pump(stream, true);
        }
        total
    }

    fn ask(&mut self, stream: StreamId) {
        if let Some(secured) = self.get_mut(stream) {
            secured.asked = secured.asked.saturating_add(1);
        }
        self.transport.ask(stream);
    }

    fn spoke_early(&self, stream: StreamId) -> bool {
        // Tickets may come after the handshake, unasked, and once only.
        self.get(stream).is_none_or(|secured| secured.asked > 1) && self.transport.spoke_early(stream)
    }

    fn has_unread(&self, stream: StreamId) -> bool {
        self.transport.has_unread(stream)
    }

    fn release(&mut self, stream: StreamId) {
        self.names.retain(|(waiting, _)| *waiting != stream);
        let place = self.secured.get_mut(usize::from(stream.slot));
        if let Some(mut secured) = place.and_then(|place| place.take_if(|s| s.stream == stream)) {
            // Without that word the worker knows that its answer was not wanted to the end.
            if let Some(session) = secured.session.as_mut().filter(|session| session.plaintext().is_empty()) {
                session.close();
            }
            // What finds no room now is lost.
            secured.carry(&mut self.transport);
        }
        self.transport.release(stream);
    }

    fn flush(&mut self) {
        self.transport.flush();
    }

    fn arm(&mut self) -> bool {
        self.events.is_empty() && self.transport.arm()
    }
}
