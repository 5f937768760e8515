//! From Ethernet frames to TCP connections and back.
//!
//! Every connection has a smoltcp socket in a one-slot set of its own. A frame is matched to its connection
//! by a keyed hash of the 4-tuple and fed to that set alone; only connections with something to send are
//! polled for output; timers are in a [`wheel`]. So a packet costs the same with ten connections as with ten
//! thousand.
//!
//! ```text
//!  frame ─► receive ─► ARP │ ICMP echo │ DHCP │ TCP ─► flow table ─► socket ─► ConnId to the caller
//!  caller ─► socket(id).send ─► flush(id) ─► frames
//! ```
//!
//! Frames are sent to the hardware address from which the peer's frames came, so there is neither a routing
//! table nor a neighbour cache. IPv4 only so far; [`FlowKey`] and its users already carry
//! [`core::net::IpAddr`].

mod arp;
mod bare;
mod buffers;
mod closed_window;
mod dhcp;
mod flow;
mod ingress;
mod port;
mod time_wait;
pub mod wheel;

pub use buffers::Tier;
pub use flow::FlowKey;
pub use smoltcp::socket::tcp::{Socket, State};

use crate::table::KeyedHash;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use buffers::SocketPool;
use closed_window::Probes;
use core::net::IpAddr;
use core::time::Duration;
use hashbrown::HashMap;
use model::settings::StaticAddress;
use netdrv::nic::{Nic, NicInfo};
use port::{CapabilitiesOnly, LastSent, Port};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address, Ipv4Cidr};
use time_wait::TimeWait;
use wheel::Wheel;

/// Transmit slots reserved for answers to received frames: connections' output waits while fewer are free.
pub const REPLY_RESERVE: usize = 8;

/// Interval of packets that probe a silent peer's window.
const PROBE_INTERVAL: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(1);

/// Longer than smoltcp's longest retransmission timeout.
const TIMED_OUT: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(120);

/// Limits and addresses of a [`Stack`].
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Static address; `None` for DHCP.
    pub address: Option<StaticAddress>,
    /// Ports that accept connections.
    pub ports: Vec<u16>,
    /// Memory for sockets and their buffers, in bytes.
    pub buffer_bytes: usize,
    /// Limit on open connections, half-open ones included.
    pub max_connections: usize,
    /// Limit on connections whose handshake is not complete; the oldest gives way to a new one.
    pub max_half_open: usize,
    /// Limit on the duration of a handshake.
    pub handshake_timeout: Duration,
    /// Secret random numbers: keys of the flow table and of initial sequence numbers.
    pub seed: [u64; 4],
}

model::counters! {
    /// Event counts since the start.
    pub struct TcpCounters {
        /// Frames received.
        frames_received = "frames_received",
        /// Frames for others, of unsupported protocols, or fragments.
        frames_ignored = "frames_ignored",
        /// Frames that are too short, or have wrong checksums or lengths.
        frames_malformed = "frames_malformed",
        /// Connections whose handshake completed.
        connections_accepted = "connections_accepted",
        /// Connection attempts dropped because memory or the connection limit was reached (`Connections_Refused`).
        connections_refused = "connections_refused",
        /// Half-open connections that gave way to newer ones.
        half_open_evicted = "half_open_evicted",
        /// Half-open connections that timed out.
        half_open_timed_out = "half_open_timed_out",
        /// Segments answered from a TIME-WAIT record.
        time_wait_answered = "time_wait_answered",
        /// Connections found stuck with a closed window that the peer had opened again.
        windows_probed = "windows_probed",
    }
}

/// Limit on refused connections kept for the log.
const TURNED_AWAY_MAX: usize = 16;

/// Identifies a connection. Not reused for another one while its events may be pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    /// A small dense index, reused after the connection has gone.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// The connection with this index, in tests without connections.
    #[cfg(test)]
    pub(crate) const fn numbered(index: u32) -> Self {
        Self { index, generation: 0 }
    }
}

struct Connection<T> {
    socket: buffers::PooledSocket,
    key: FlowKey,
    peer: EthernetAddress,
    generation: u32,
    half_open: bool,
    deadline: Option<Instant>,
    /// When something is due: the earlier of smoltcp's deadline and the caller's, as of the last flush. The
    /// timer in the wheel may be set earlier.
    due_at: Option<Instant>,
    last_sent: Option<LastSent>,
    /// Bytes retransmitted since this was last queried.
    resent: u32,
    /// Bytes in the send buffer when probing of a stuck connection began.
    probing: Option<u32>,
    /// Set while the peer's window is zero.
    probes: Option<Probes>,
    /// The peer has opened its window, and had dropped the data in flight.
    resend: bool,
    app: T,
}

impl<T> Connection<T> {
    /// Sends a window probe, if one is due.
    fn ask_for_room<N: Nic>(&mut self, now: Instant, nic: &mut N, info: &NicInfo) {
        let (socket, Some(last)) = (self.socket.get(), self.last_sent) else { return };
        let due = self.probes.as_mut().filter(|probes| probes.at <= now && socket.send_queue() > 0);
        let Some(probes) = due.filter(|_| nic.tx_room() > REPLY_RESERVE) else { return };
        let window = (socket.recv_capacity() - socket.recv_queue()).min(usize::from(u16::MAX));
        let question = LastSent { next: probes.ask(now), ..last };
        bare::acknowledge(nic, info, self.peer, &self.key, question, window as u16);
    }
}

/// All connections of one core, each with the caller's state `T` beside its socket.
pub struct Stack<T> {
    iface: Interface,
    info: NicInfo,
    config: StackConfig,
    local: Option<Ipv4Cidr>,
    dhcp: Option<dhcp::DhcpClient>,
    flows: HashMap<FlowKey, u32, KeyedHash>,
    slots: Vec<Option<Connection<T>>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    half_open: VecDeque<ConnId>,
    half_open_count: usize,
    time_wait: TimeWait,
    wheel: Wheel,
    buffers: SocketPool,
    /// A socket set without sockets: smoltcp answers packets for it with RST and ICMP echo replies.
    no_sockets: SocketSet<'static>,
    sequence_seeds: KeyedHash,
    connections_opened: u64,
    announce: bool,
    /// Connections refused or evicted since this was last queried.
    turned_away: VecDeque<FlowKey>,
    counters: TcpCounters,
}

/// Result of flushing a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed<T> {
    /// Everything that may be sent now was sent.
    Done,
    /// The card's queue is full: flush again when it has room.
    Blocked,
    /// The connection was closed and removed; contains the caller's state.
    Closed(T),
    /// There is no such connection.
    Unknown,
}

impl<T: Default> Stack<T> {
    /// A stack for one card.
    pub fn new(config: StackConfig, info: NicInfo, now: Instant) -> Self {
        let [a, b, c, d] = config.seed;
        let mut stack = Self {
            iface: interface(&info, c),
            local: None,
            dhcp: config.address.is_none().then(|| dhcp::DhcpClient::new(&info, a ^ d, now)),
            flows: HashMap::with_hasher(KeyedHash(a, b)),
            slots: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            half_open: VecDeque::with_capacity(config.max_half_open + 1),
            half_open_count: 0,
            time_wait: TimeWait::new(1024, KeyedHash(a, b)),
            wheel: Wheel::new(now),
            buffers: SocketPool::new(config.buffer_bytes),
            no_sockets: SocketSet::new(Vec::new()),
            sequence_seeds: KeyedHash(c, d),
            connections_opened: 0,
            announce: false,
            turned_away: VecDeque::with_capacity(TURNED_AWAY_MAX),
            counters: TcpCounters::default(),
            info,
            config,
        };
        if let Some(StaticAddress { address, prefix_len, .. }) = stack.config.address {
            stack.set_address(Some(Ipv4Cidr::new(Ipv4Address::from(address), prefix_len)));
        }
        stack
    }

    /// Event counts since the start.
    pub fn counters(&self) -> TcpCounters {
        self.counters
    }

    /// Number of open connections whose handshake is complete.
    pub fn established(&self) -> usize {
        self.flows.len() - self.half_open_count
    }

    /// Number of connections whose handshake is in progress.
    pub fn half_open(&self) -> usize {
        self.half_open_count
    }

    /// A connection that was refused, or evicted before its handshake was complete, oldest first. Between two
    /// calls, only the first ones are kept; all are counted.
    pub fn next_turned_away(&mut self) -> Option<FlowKey> {
        self.turned_away.pop_front()
    }

    /// Bytes held by sockets and their buffers.
    pub fn buffer_bytes(&self) -> usize {
        self.buffers.in_use()
    }

    /// Our address, once there is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.local.map(|cidr| IpAddr::V4(cidr.address()))
    }

    /// Accepts no more connections: SYNs are answered with RST.
    pub fn stop_listening(&mut self) {
        self.config.ports.clear();
    }

    /// Number of established connections for which `choose` holds.
    pub fn count(&self, choose: impl Fn(&Socket<'static>, &T) -> bool) -> usize {
        let open = self.slots.iter().flatten().filter(|connection| !connection.half_open);
        open.filter(|connection| choose(connection.socket.get(), &connection.app)).count()
    }

    /// Upper bound (exclusive) of connection indices ([`ConnId::index`]).
    pub fn index_bound(&self) -> u32 {
        self.slots.len() as u32
    }

    /// A connection's socket and the caller's state, or `None` if it has gone.
    pub fn get(&mut self, id: ConnId) -> Option<(&mut Socket<'static>, &mut T)> {
        let connection = self.slots.get_mut(id.index())?.as_mut()?;
        (connection.generation == id.generation).then(|| (connection.socket.get_mut(), &mut connection.app))
    }

    /// The connection that has this index now ([`ConnId::index`]).
    pub fn at(&self, index: u32) -> Option<ConnId> {
        let connection = self.slots.get(index as usize)?.as_ref()?;
        Some(ConnId { index, generation: connection.generation })
    }

    /// Content bytes retransmitted on this connection since the last call.
    pub fn take_resent(&mut self, id: ConnId) -> u32 {
        self.connection_mut(id).map_or(0, |connection| core::mem::take(&mut connection.resent))
    }

    /// A connection's 4-tuple.
    pub fn key(&self, id: ConnId) -> Option<FlowKey> {
        self.connection(id).map(|connection| connection.key)
    }

    /// Whether the connection's handshake is in progress.
    pub fn is_half_open(&self, id: ConnId) -> bool {
        self.connection(id).is_some_and(|connection| connection.half_open)
    }

    /// Sets when [`Stack::pop_due`] is to return this connection even if nothing arrives. Takes effect at the
    /// next [`Stack::flush`].
    pub fn set_deadline(&mut self, id: ConnId, deadline: Option<Instant>) {
        if let Some(connection) = self.connection_mut(id) {
            connection.deadline = deadline;
        }
    }

    /// The next connection whose timer has fired: it needs a turn and a flush.
    pub fn pop_due(&mut self, now: Instant) -> Option<ConnId> {
        while let Some(index) = self.wheel.pop_due(now) {
            let id = ConnId { index, generation: *self.generations.get(index as usize)? };
            let Some(connection) = self.connection(id) else { continue };
            if let Some(due_at) = connection.due_at.filter(|at| *at > now) {
                // The deadline was moved later, but the timer was not.
                self.wheel.set(index, due_at);
                continue;
            }
            if connection.half_open && connection.deadline.is_some_and(|deadline| deadline <= now) {
                self.counters.half_open_timed_out += 1;
                self.remove(id);
                continue;
            }
            return Some(id);
        }
        None
    }

    /// When something is due even if no frame arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        let dhcp = self.dhcp.as_ref().and_then(dhcp::DhcpClient::next_deadline);
        Instant::earliest([self.wheel.next_deadline(), dhcp])
    }

    /// Sends a connection's output, sets its timer, and removes it if it is closed.
    pub fn flush<N: Nic>(&mut self, id: ConnId, now: Instant, nic: &mut N) -> Flushed<T> {
        let slot = self.slots.get_mut(id.index()).and_then(Option::as_mut);
        let Some(connection) = slot.filter(|c| c.generation == id.generation) else {
            return Flushed::Unknown;
        };
        connection.ask_for_room(now, nic, &self.info);
        let at = now.to_smoltcp();
        let mut port = Port {
            nic,
            info: &self.info,
            peer: connection.peer,
            received: None,
            reserve: REPLY_RESERVE,
            bulk: connection.socket.get().send_queue() > usize::from(self.info.mtu),
            last_sent: connection.last_sent,
            is_closed: connection.probes.is_some(),
            resent: 0,
            blocked: false,
        };
        if core::mem::take(&mut connection.resend) {
            // smoltcp rewinds to the first unacknowledged byte only when its retransmission timer expires. So it is polled with a
            // time at which the timer has expired, and with a device that has no room, so that it rewinds and sends nothing yet.
            // The timeout of a probed client must not expire as well: that would abort the connection.
            let timeout = connection.socket.get().timeout();
            connection.socket.get_mut().set_timeout(None);
            let reserve = core::mem::replace(&mut port.reserve, usize::MAX);
            self.iface.poll_egress(at + TIMED_OUT, &mut port, &mut connection.socket.set);
            connection.socket.get_mut().set_timeout(timeout);
            (port.reserve, port.blocked) = (reserve, false);
        }
        // Asking first is cheaper than a fruitless attempt to send.
        let mut next = self.iface.poll_at(at, &connection.socket.set);
        while next.is_some_and(|next| next <= at)
            && self.iface.poll_egress(at, &mut port, &mut connection.socket.set)
                == smoltcp::iface::PollResult::SocketStateChanged
        {
            next = self.iface.poll_at(at, &connection.socket.set);
        }
        let blocked = port.blocked;
        connection.last_sent = port.last_sent;
        connection.resent = connection.resent.saturating_add(port.resent);
        match connection.socket.get().state() {
            State::TimeWait if !blocked => {
                if let Some(last) = connection.last_sent {
                    self.time_wait.insert(now, connection.key, last);
                }
                return self.remove(id).map_or(Flushed::Unknown, Flushed::Closed);
            }
            State::Closed | State::Listen if !blocked => {
                return self.remove(id).map_or(Flushed::Unknown, Flushed::Closed);
            }
            _ => {}
        }
        if blocked {
            return Flushed::Blocked;
        }
        self.rearm(id, next, now);
        Flushed::Done
    }

    /// Runs DHCP and address announcements.
    pub fn maintain<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        if let Some(client) = &mut self.dhcp
            && let Some(change) = client.poll(now, nic, None)
        {
            self.set_address(change);
        }
        if self.announce
            && let Some(local) = self.local
            && arp::announce(nic, self.info.mac, local.address()).is_ok()
        {
            self.announce = false;
        }
    }

    /// A connection for which `choose` holds, to be closed when memory is short. Examines up to `scan`
    /// connections, from a position that advances with every connection opened.
    pub fn find(&self, scan: usize, choose: impl Fn(&Socket<'static>, &T) -> bool) -> Option<ConnId> {
        let len = self.slots.len().max(1);
        let start = self.connections_opened as usize % len;
        (0..scan.min(len)).map(|i| (start + i) % len).find_map(|index| {
            let connection = self.slots.get(index)?.as_ref()?;
            (!connection.half_open && choose(connection.socket.get(), &connection.app))
                .then_some(ConnId { index: index as u32, generation: connection.generation })
        })
    }

    /// Whether a new connection would get no memory or no place in the table.
    pub fn is_full(&self) -> bool {
        self.flows.len() >= self.config.max_connections
            || self.buffers.in_use() + Tier::Small.cost() > self.config.buffer_bytes
    }

    fn connection(&self, id: ConnId) -> Option<&Connection<T>> {
        self.slots.get(id.index())?.as_ref().filter(|c| c.generation == id.generation)
    }

    fn connection_mut(&mut self, id: ConnId) -> Option<&mut Connection<T>> {
        self.slots.get_mut(id.index())?.as_mut().filter(|c| c.generation == id.generation)
    }

    /// Sets the connection's timer to the earlier of smoltcp's deadline (`tcp`) and the caller's. A timer
    /// that is already set earlier stays and is set again when it fires ([`Stack::pop_due`]), which is
    /// cheaper than moving it for every packet.
    fn rearm(&mut self, id: ConnId, mut tcp: Option<smoltcp::time::Instant>, now: Instant) {
        let Some(connection) = self.slots[id.index()].as_mut() else { return };
        let unsent = connection.socket.get().send_queue();
        if tcp.is_none() && unsent > 0 {
            // smoltcp accepts any advertised window, even from a reordered acknowledgement. If that one says
            // zero, both ends fall silent: the peer considers its window open, and no probe is scheduled
            // here. A keep-alive packet makes the peer repeat its window.
            self.counters.windows_probed += 1;
            connection.probing = Some(unsent as u32);
            connection.socket.get_mut().set_keep_alive(Some(PROBE_INTERVAL));
            tcp = self.iface.poll_at(now.to_smoltcp(), &connection.socket.set);
        } else if connection.probing.is_some_and(|before| before as usize != unsent) {
            connection.probing = None;
            connection.socket.get_mut().set_keep_alive(None);
        }
        let tcp = tcp.map(|tcp| {
            let tcp = Instant::from_smoltcp(tcp);
            // It was flushed just now: what is due at once could not be sent, for a reason unknown to
            // smoltcp.
            if tcp <= now { now + Duration::from_millis(1) } else { tcp }
        });
        let probe = connection
            .probes
            .filter(|_| unsent > 0)
            .map(|probes| probes.at.max(now + Duration::from_millis(1)));
        connection.due_at = Instant::earliest([tcp, connection.deadline, probe]);
        if let Some(at) = connection.due_at
            && self.wheel.deadline(id.index).is_none_or(|set| at < set)
        {
            self.wheel.set(id.index, at);
        }
    }

    fn turn_away(&mut self, key: FlowKey) {
        if self.turned_away.len() < TURNED_AWAY_MAX {
            self.turned_away.push_back(key);
        }
    }

    fn remove(&mut self, id: ConnId) -> Option<T> {
        let connection = self.slots[id.index()].take()?;
        self.half_open_count -= usize::from(connection.half_open);
        self.flows.remove(&connection.key);
        self.wheel.cancel(id.index);
        self.generations[id.index()] = connection.generation.wrapping_add(1);
        self.free.push(id.index);
        self.buffers.release(connection.socket);
        Some(connection.app)
    }

    fn set_address(&mut self, address: Option<Ipv4Cidr>) {
        self.local = address;
        self.announce = address.is_some();
        configure(&mut self.iface, address);
    }
}

/// A fresh interface: smoltcp's random numbers are predictable from earlier ones, so each connection's
/// initial sequence number (RFC 6528) comes from a generator seeded for it alone.
fn interface(info: &NicInfo, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    Interface::new(config, &mut CapabilitiesOnly(port::capabilities(info)), smoltcp::time::Instant::ZERO)
}

fn configure(iface: &mut Interface, address: Option<Ipv4Cidr>) {
    iface.update_ip_addrs(|addresses| {
        addresses.clear();
        if let Some(cidr) = address {
            // The list was just emptied and holds at least one.
            let _ = addresses.push(IpCidr::Ipv4(cidr));
        }
    });
}

#[cfg(test)]
mod tests;
