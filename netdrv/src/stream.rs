//! Interface of a stream transport between virtual machines (vsock) to the layer above it.
//!
//! Streams are reliable, ordered and flow-controlled, but half-closes are not: the vsock daemons in use do not forward them.
//! Frame messages; close whole streams.

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

/// Identifies a stream. Never reused while the transport lives, so that a late event cannot be attributed to another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Slot in the transport's stream table.
    pub slot: u16,
    /// How often that slot was used before.
    pub generation: u32,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer shut both directions down; everything it sent can be read first.
    Shutdown,
    /// The peer sent RST: it is not listening, or it dropped the stream.
    Reset,
    /// The peer violated the protocol (credit overrun, bad state).
    Protocol,
    /// The transport itself was reset (the VM was migrated, the daemon came back): all streams are gone.
    TransportReset,
    /// The peer did not reply to a connection request in time.
    TimedOut,
}

/// An event of a stream.
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
    /// The stream ended. Received data can still be read until [`StreamTransport::release`].
    Closed(StreamId, CloseReason),
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The stream table is full.
    TooManyStreams,
    /// There is no transport (no device, or it failed).
    NoTransport,
}

/// A set of streams over one vsock device. No call blocks; [`StreamTransport::poll`] does all work with the device.
///
/// Every stream, however it ended, must be released with [`StreamTransport::release`].
pub trait StreamTransport {
    /// Handles events from the device, and connection timeouts. `now_ns` is monotonic.
    fn poll(&mut self, now_ns: u64);

    /// The next event, oldest first.
    fn next_event(&mut self) -> Option<StreamEvent>;

    /// When [`StreamTransport::poll`] must run next even if the device stays silent (nanoseconds, monotonic).
    fn next_deadline(&self) -> Option<u64>;

    /// Starts opening a stream. [`StreamEvent::Connected`] or [`StreamEvent::Closed`] follows.
    fn connect(&mut self, peer: VsockAddr, now_ns: u64) -> Result<StreamId, ConnectError>;

    /// Accepts streams on a local port from now on.
    fn listen(&mut self, port: u32);

    /// Received bytes that have not been consumed: the contiguous front part, empty only if there are none.
    fn readable(&self, stream: StreamId) -> &[u8];

    /// Marks `n` bytes as read, which returns credit to the peer. Panics if more than `readable().len()`.
    fn consume(&mut self, stream: StreamId, n: usize);

    /// How many bytes [`StreamTransport::send`] would accept now.
    fn send_room(&self, stream: StreamId) -> usize;

    /// Sends as much of `data` as credit and queue allow, and returns how much that was.
    fn send(&mut self, stream: StreamId, data: &[u8]) -> usize;

    /// Marks the next byte sent as the start of a request: see [`StreamTransport::spoke_early`].
    fn ask(&mut self, _stream: StreamId) {}

    /// Whether anything has arrived since [`StreamTransport::ask`] that the peer sent before it read any byte of the request, and
    /// which therefore cannot be a response to it. Never true for a transport that does not know what its peer has read.
    fn spoke_early(&self, _stream: StreamId) -> bool {
        false
    }

    /// Whether the peer may not have read everything that was sent. Never true for a transport that does not know.
    fn has_unread(&self, _stream: StreamId) -> bool {
        false
    }

    /// Releases a stream: closes it in order if it is open and everything received was consumed, otherwise by RST. Bytes already
    /// accepted by `send` are delivered first if the peer still accepts them. Unknown or already released streams are ignored.
    fn release(&mut self, stream: StreamId);

    /// Notifies the device of everything queued since the last call: at most one notification per queue.
    fn flush(&mut self);

    /// Requests an interrupt for the next packet. Returns false if work has arrived meanwhile: poll again instead of halting.
    fn arm(&mut self) -> bool;

    /// Protocol violations of the device since the start.
    fn faults(&self) -> Faults {
        Faults::default()
    }
}

/// A transport that may be absent: then nothing ever connects.
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
