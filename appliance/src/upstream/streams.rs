//! The transport as pools see it. Secured streams carry plaintext on this side and TLS on the wire.
//!
//! A secured stream counts as connected once its handshake is complete. Its end is orderly only with the
//! worker's close_notify; a stream that just stops was cut, and its data may lack the end (RFC 8446 §6.1).

use crate::time::Instant;
use crate::tls::link::{LinkFault, LinkSession, LinkTls};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use netdrv::stream::{CloseReason, ConnectError, StreamEvent, StreamId, StreamTransport, VsockAddr};

/// Limit on the duration of a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Bytes that a record adds: header, content type, tag.
const RECORD_OVERHEAD: usize = 5 + 1 + 16;

model::counters! {
    /// Event counts of secured links since the start.
    pub struct SecureCounters {
        /// Handshakes completed.
        handshakes = "link_handshakes",
        /// Workers whose certificate has expired or is not valid yet.
        expired = "link_certificates_expired",
        /// Workers whose certificate is for another name.
        other_name = "link_certificates_of_other_names",
        /// Workers whose certificate leads to no trust anchor.
        untrusted = "link_certificates_untrusted",
        /// Handshakes that failed otherwise, timed out, or were cut.
        failed = "link_handshakes_failed",
        /// Links that broke after the handshake, for instance because the worker refused our certificate.
        broken = "links_broken",
        /// Links that were cut without close_notify.
        cut = "links_cut",
    }
}

impl SecureCounters {
    fn count(&mut self, fault: LinkFault) {
        match fault {
            LinkFault::Closed => {}
            LinkFault::Expired => self.expired += 1,
            LinkFault::OtherName => self.other_name += 1,
            LinkFault::Untrusted => self.untrusted += 1,
            LinkFault::Handshake => self.failed += 1,
            LinkFault::Broken => self.broken += 1,
        }
    }
}

/// TLS state of a stream.
struct TlsStream {
    stream: StreamId,
    config: Arc<LinkTls>,
    /// Set once the transport's stream is open.
    session: Option<LinkSession>,
    /// Deadline of the handshake; `None` before and after it.
    deadline: Option<Instant>,
    /// How the transport's stream ended, if it has.
    ended: Option<CloseReason>,
    /// The end was reported.
    end_reported: bool,
    /// The user waits for room to send.
    wants_room: bool,
    /// Requests begun on this stream.
    requests: u32,
}

impl TlsStream {
    fn new(stream: StreamId, config: Arc<LinkTls>) -> Self {
        Self {
            stream,
            config,
            session: None,
            deadline: None,
            ended: None,
            end_reported: false,
            wants_room: false,
            requests: 0,
        }
    }

    fn plaintext(&self) -> &[u8] {
        self.session.as_ref().map_or(&[], LinkSession::plaintext)
    }

    /// Moves bytes between the session and the transport as far as possible.
    fn transfer(&mut self, transport: &mut impl StreamTransport) {
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

    /// The end of the stream, if it has come and was not reported.
    fn end(&mut self, transport: &impl StreamTransport) -> Option<(CloseReason, Option<LinkFault>)> {
        if self.end_reported {
            return None;
        }
        let fault = self.session.as_ref().and_then(LinkSession::fault);
        let reason = match (fault, self.ended) {
            (Some(LinkFault::Closed), _) => CloseReason::Shutdown,
            (Some(_), _) => CloseReason::Protocol,
            // The bytes left in the transport may contain close_notify.
            (None, Some(CloseReason::Shutdown)) if !transport.readable(self.stream).is_empty() => {
                return None;
            }
            (None, Some(CloseReason::Shutdown)) => CloseReason::Reset,
            (None, Some(reason)) => reason,
            (None, None) => return None,
        };
        self.end_reported = true;
        Some((reason, fault))
    }
}

/// A transport, with TLS on some of its streams.
pub struct Streams<S> {
    pub(super) transport: S,
    /// Indexed by stream slot.
    tls_streams: Vec<Option<TlsStream>>,
    events: VecDeque<StreamEvent>,
    /// Streams being connected, and the names to send first.
    names: Vec<(StreamId, u64)>,
    now: Instant,
    counters: SecureCounters,
}

impl<S: StreamTransport> Streams<S> {
    pub(super) fn new(transport: S) -> Self {
        Self {
            transport,
            tls_streams: Vec::new(),
            events: VecDeque::new(),
            names: Vec::new(),
            now: Instant::ZERO,
            counters: SecureCounters::default(),
        }
    }

    /// Whether a stream should not carry further requests because its keys are due for replacement.
    pub(super) fn is_key_exhausted(&self, stream: StreamId) -> bool {
        self.get(stream)
            .and_then(|tls_streams| tls_streams.session.as_ref())
            .is_some_and(LinkSession::is_key_exhausted)
    }

    /// The underlying transport.
    pub fn transport(&mut self) -> &mut S {
        &mut self.transport
    }

    pub(super) fn counters(&self) -> SecureCounters {
        self.counters
    }

    /// Starts TLS on a stream that was just opened.
    pub(super) fn secure(&mut self, stream: StreamId, config: Arc<LinkTls>) {
        let slot = usize::from(stream.slot);
        if self.tls_streams.len() <= slot {
            self.tls_streams.resize_with(slot + 1, || None);
        }
        self.tls_streams[slot] = Some(TlsStream::new(stream, config));
    }

    /// Has a stream that was just opened send its name first, unencrypted.
    pub(super) fn send_name_first(&mut self, stream: StreamId, name: u64) {
        self.names.push((stream, name));
    }

    /// Sends the name of a stream that has just been connected. False if there was no room for it.
    fn send_name(&mut self, stream: StreamId) -> bool {
        let Some(at) = self.names.iter().position(|(waiting, _)| *waiting == stream) else { return true };
        let name = self.names.swap_remove(at).1.to_le_bytes();
        self.transport.send(stream, &name) == name.len()
    }

    fn get(&self, stream: StreamId) -> Option<&TlsStream> {
        self.tls_streams.get(usize::from(stream.slot))?.as_ref().filter(|s| s.stream == stream)
    }

    fn get_mut(&mut self, stream: StreamId) -> Option<&mut TlsStream> {
        self.tls_streams.get_mut(usize::from(stream.slot))?.as_mut().filter(|s| s.stream == stream)
    }

    fn on_event(&mut self, event: StreamEvent) {
        let (StreamEvent::Connected(stream)
        | StreamEvent::Readable(stream)
        | StreamEvent::Writable(stream)
        | StreamEvent::Closed(stream, _)
        | StreamEvent::Accepted { stream, .. }) = event;
        let deadline = self.now + HANDSHAKE_LIMIT;
        // A peer without room for the first bytes of a stream violates the protocol.
        let event = match event {
            StreamEvent::Connected(_) if !self.send_name(stream) => {
                StreamEvent::Closed(stream, CloseReason::Protocol)
            }
            event => event,
        };
        let Some(tls_streams) = self.get_mut(stream) else { return self.events.push_back(event) };
        match event {
            StreamEvent::Connected(_) => match LinkSession::start(tls_streams.config.clone()) {
                Ok(session) => (tls_streams.session, tls_streams.deadline) = (Some(session), Some(deadline)),
                // No random numbers: not the worker's fault.
                Err(_) => tls_streams.ended = Some(CloseReason::TransportReset),
            },
            StreamEvent::Closed(_, reason) => tls_streams.ended = Some(reason),
            _ => {}
        }
        self.pump(stream, true);
    }

    /// Moves bytes and queues the resulting events. `tell_readable` is unset while the user is reading
    /// anyway.
    fn pump(&mut self, stream: StreamId, tell_readable: bool) {
        let Self { transport, tls_streams, events, counters, .. } = self;
        let found = tls_streams.get_mut(usize::from(stream.slot)).and_then(Option::as_mut);
        let Some(tls_streams) = found.filter(|s| s.stream == stream) else { return };
        let had = !tls_streams.plaintext().is_empty();
        tls_streams.transfer(transport);
        let open = tls_streams.session.as_ref().is_some_and(LinkSession::is_established);
        if open && tls_streams.deadline.take().is_some() {
            counters.handshakes += 1;
            events.push_back(StreamEvent::Connected(stream));
        }
        if tell_readable && !had && !tls_streams.plaintext().is_empty() {
            events.push_back(StreamEvent::Readable(stream));
        }
        if tls_streams.wants_room
            && tls_streams.session.as_ref().is_some_and(|session| session.output().is_empty())
        {
            tls_streams.wants_room = false;
            events.push_back(StreamEvent::Writable(stream));
        }
        let Some((reason, fault)) = tls_streams.end(transport) else { return };
        match fault {
            Some(fault) => counters.count(fault),
            None if open => counters.cut += 1,
            None if tls_streams.session.is_some() => counters.failed += 1,
            None => {}
        }
        events.push_back(StreamEvent::Closed(stream, reason));
    }

    /// A stream whose handshake is overdue.
    fn overdue_handshake(&self) -> Option<StreamId> {
        let overdue_handshake = |s: &&TlsStream| s.deadline.is_some_and(|deadline| deadline <= self.now);
        self.tls_streams.iter().flatten().find(overdue_handshake).map(|s| s.stream)
    }
}

impl<S: StreamTransport> StreamTransport for Streams<S> {
    fn poll(&mut self, now_ns: u64) {
        self.now = Instant::from_nanos(now_ns);
        self.transport.poll(now_ns);
        while let Some(event) = self.transport.next_event() {
            self.on_event(event);
        }
        while let Some(stream) = self.overdue_handshake() {
            if let Some(tls_streams) = self.get_mut(stream) {
                (tls_streams.deadline, tls_streams.ended) = (None, Some(CloseReason::TimedOut));
            }
            self.pump(stream, false);
        }
    }

    fn next_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn next_deadline(&self) -> Option<u64> {
        let handshakes = self.tls_streams.iter().flatten().filter_map(|s| s.deadline).min();
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
            Some(tls_streams) => tls_streams.plaintext(),
            None => self.transport.readable(stream),
        }
    }

    fn consume(&mut self, stream: StreamId, n: usize) {
        let Some(tls_streams) = self.get_mut(stream) else { return self.transport.consume(stream, n) };
        if let Some(session) = &mut tls_streams.session {
            session.consume(n);
        }
        self.pump(stream, false);
    }

    fn send_room(&self, stream: StreamId) -> usize {
        match self.get(stream) {
            None => self.transport.send_room(stream),
            Some(tls_streams) => tls_streams.session.as_ref().map_or(0, |session| match session.output() {
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
            let Some(tls_streams) = self.get_mut(stream) else { break };
            let sent = tls_streams.session.as_mut().map_or(0, |session| session.send(rest));
            tls_streams.wants_room = sent == 0;
            if sent == 0 {
                break;
            }
            total += sent;
            self.pump(stream, true);
        }
        total
    }

    fn ask(&mut self, stream: StreamId) {
        if let Some(tls_streams) = self.get_mut(stream) {
            tls_streams.requests = tls_streams.requests.saturating_add(1);
        }
        self.transport.ask(stream);
    }

    fn spoke_early(&self, stream: StreamId) -> bool {
        // Session tickets may arrive unsolicited after the handshake, but only then.
        self.get(stream).is_none_or(|tls_streams| tls_streams.requests > 1)
            && self.transport.spoke_early(stream)
    }

    fn has_unread(&self, stream: StreamId) -> bool {
        self.transport.has_unread(stream)
    }

    fn release(&mut self, stream: StreamId) {
        self.names.retain(|(waiting, _)| *waiting != stream);
        let place = self.tls_streams.get_mut(usize::from(stream.slot));
        if let Some(mut tls_streams) = place.and_then(|place| place.take_if(|s| s.stream == stream)) {
            // Without close_notify, the worker learns that its response was not fully read.
            if let Some(session) =
                tls_streams.session.as_mut().filter(|session| session.plaintext().is_empty())
            {
                session.close();
            }
            // Bytes without room are lost.
            tls_streams.transfer(&mut self.transport);
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
