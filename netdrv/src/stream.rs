//! What a stream transport between virtual machines (vsock) offers to the layer above it.
//!
//! Streams are reliable, ordered and flow-controlled, but their half-closes cannot be relied upon: the vsock daemons
//! in use do not pass them on. Frame messages; close whole streams.

use crate::transport::Faults;

/// A vsock address (virtio 1.2 §5.10.4): 2 is the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VsockAddr {
    /// Context identifier of the machine.
    pub cid: u32,
    /// Port.
    pub port: u32,
}

/// The host's context identifier.
pub const HOST_CID: u32 = 2;

/// Names a stream. Never reused for another stream while the transport lives, so that a late event cannot be
/// taken for another stream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Place in the transport's stream table.
    pub slot: u16,
    /// How often that place had been used before.
    pub generation: u32,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer shut both directions down; everything it sent can be read first.
    Shutdown,
    /// The peer answered with RST: not listening, or it dropped the stream.
    Reset,
    /// The peer broke the protocol (credit overrun, bad state).
    Protocol,
    /// The transport itself was reset (the VM was migrated, the daemon came back): all streams are gone.
    TransportReset,
    /// No answer to our connection request in time.
    TimedOut,
}

/// What happened to a stream since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// A stream opened with [`StreamTransport::connect`] is established.
    Connected(StreamId),
    /// A peer connected to a port given to [`StreamTransport::listen`].
    Accepted {
        /// The new stream.
        stream: StreamId,
        /// The local port.
        port: u32,
        /// The peer's address.
        peer: VsockAddr,
    },
    /// There are new bytes to read.
    Readable(StreamId),
    /// There is room to send again, after [`StreamTransport::send`] accepted less than it was given.
    Writable(StreamId),
    /// The stream ended. What had been received can still be read until [`StreamTransport::release`].
    Closed(StreamId, CloseReason),
}

/// A stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The stream table is full.
    TooManyStreams,
    /// There is no transport (no device, or it failed).
    NoTransport,
}

/// A set of streams over one vsock device. No call blocks; [`StreamTransport::poll`] does all work with the device.
///
/// Every stream, however it ended, must be given back with [`StreamTransport::release`].
pub trait StreamTransport {
    /// Handles what the device has for us, and connect timeouts. `now_ns` is monotonic.
    fn poll(&mut self, now_ns: u64);

    /// The next event, oldest first.
    fn next_event(&mut self) -> Option<StreamEvent>;

    /// When [`StreamTransport::poll`] must run next even if the device stays silent (nanoseconds, monotonic).
    fn next_deadline(&self) -> Option<u64>;

    /// Begins to open a stream. [`StreamEvent::Connected`] or [`StreamEvent::Closed`] follows.
    fn connect(&mut self, peer: VsockAddr, now_ns: u64) -> Result<StreamId, ConnectError>;

    /// Accepts streams on a local port from now on.
    fn listen(&mut self, port: u32);

    /// The bytes received and not yet consumed: the contiguous front part, empty only if there is nothing.
    fn readable(&self, stream: StreamId) -> &[u8];

    /// Marks `n` bytes as read, which returns credit to the peer. Panics if more than `readable().len()`.
    fn consume(&mut self, stream: StreamId, n: usize);

    /// How many bytes [`StreamTransport::send`] would accept now.
    fn send_room(&self, stream: StreamId) -> usize;

    /// Sends as much of `data` as credit and queue allow and returns how much that was.
    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize;

    /// A question begins with the next byte that is sent: see [`StreamTransport::spoke_early`].
    fn ask(&mut self, _stream: StreamId) {}

    /// Something has arrived since [`StreamTransport::ask`] that the peer had sent before it took in any byte of the question:
    /// whatever it is, it is no answer. Never true of a transport that does not know what its peer has taken in.
    fn spoke_early(&self, _stream: StreamId) -> bool {
        false
    }

    /// Something was sent that the peer is not known to have taken in. Never true of a transport that does not know.
    fn has_unread(&self, _stream: StreamId) -> bool {
        false
    }

    /// Ends a stream and forgets it: orderly if it is open and everything received was consumed, else by RST.
    /// Bytes accepted by `send` before are delivered first where the peer still takes them. Unknown or
    /// already released streams are ignored.
    fn release(&mut self, stream: StreamId);

    /// Tells the device of everything queued since the last call: at most one notification per queue.
    fn flush(&mut self);

    /// Asks for an interrupt at the next packet. Returns false if work came in meanwhile: poll again, do not halt.
    fn arm(&mut self) -> bool;

    /// What the device has done wrong since the start.
    fn faults(&self) -> Faults {
        Faults::default()
    }
}

/// A transport that may not be there: without one, nothing ever connects.
impl<T: StreamTransport> StreamTransport for Option<T> {
    fn poll(&mut self, now_ns: u64) {
        self.iter_mut().for_each(|transport| transport.poll(now_ns));
    }

    fn next_event(&mut self) -> Option<StreamEvent> {
        self.as_mut()?.next_event()
    }

    fn next_deadline(&self) -> Option<u64> {
        self.as_ref()?.next_deadline()
    }

    fn connect(&mut self, peer: VsockAddr, now_ns: u64) -> Result<StreamId, ConnectError> {
        self.as_mut().ok_or(ConnectError::NoTransport)?.connect(peer, now_ns)
    }

    fn listen(&mut self, port: u32) {
        self.iter_mut().for_each(|transport| transport.listen(port));
    }

    fn readable(&self, stream: StreamId) -> &[u8] {
        self.as_ref().map_or(&[], |transport| transport.readable(stream))
    }

    fn consume(&mut self, stream: StreamId, n: usize) {
        self.iter_mut().for_each(|transport| transport.consume(stream, n));
    }

    fn send_room(&self, stream: StreamId) -> usize {
        self.as_ref().map_or(0, |transport| transport.send_room(stream))
    }

    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize {
        self.as_mut().map_or(0, |transport| transport.send(stream, data))
    }

    fn ask(&mut self, stream: StreamId) {
        self.iter_mut().for_each(|transport| transport.ask(stream));
    }

    fn spoke_early(&self, stream: StreamId) -> bool {
        self.as_ref().is_some_and(|transport| transport.spoke_early(stream))
    }

    fn has_unread(&self, stream: StreamId) -> bool {
        self.as_ref().is_some_and(|transport| transport.has_unread(stream))
    }

    fn release(&mut self, stream: StreamId) {
        self.iter_mut().for_each(|transport| transport.release(stream));
    }

    fn flush(&mut self) {
        self.iter_mut().for_each(StreamTransport::flush);
    }

    fn arm(&mut self) -> bool {
        self.as_mut().is_none_or(StreamTransport::arm)
    }

    fn faults(&self) -> Faults {
        self.as_ref().map_or_else(Faults::default, StreamTransport::faults)
    }
}
