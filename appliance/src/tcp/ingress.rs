//! Processing of received frames.

use super::buffers::PooledSocket;
use super::closed_window::{self, Probes};
use super::port::{ETHERNET_LEN, Port};
use super::{ConnId, Connection, FlowKey, Stack, arp, bare, configure, interface};
use crate::time::Instant;
use core::hash::BuildHasher;
use core::net::IpAddr;
use netdrv::nic::Nic;
use smoltcp::socket::tcp::State;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, TcpPacket, UdpPacket,
};

/// The DHCP client's port (RFC 2131 §4.1).
const DHCP_CLIENT_PORT: u16 = 68;

impl<T: Default> Stack<T> {
    /// Handles one Ethernet frame. `verified`: the card has verified the transport checksum. Returns the
    /// connection that the frame belongs to, which then needs its turn and a flush.
    ///
    /// Only to be called while the card has room for an answer ([`Nic::tx_room`] > 0).
    pub fn receive<N: Nic>(
        &mut self,
        now: Instant,
        frame: &mut [u8],
        verified: bool,
        nic: &mut N,
    ) -> Option<ConnId> {
        self.counters.frames_received += 1;
        let Ok(ethernet) = EthernetFrame::new_checked(&*frame) else {
            self.counters.frames_malformed += 1;
            return None;
        };
        let to = ethernet.dst_addr();
        if to.0 != self.info.mac && !to.is_broadcast() {
            self.counters.frames_ignored += 1;
            return None;
        }
        let (protocol, peer) = (ethernet.ethertype(), ethernet.src_addr());
        match protocol {
            EthernetProtocol::Ipv4 => self.receive_ipv4(now, frame, peer, verified, nic),
            EthernetProtocol::Arp => {
                let answered = self.local.is_some_and(|local| {
                    arp::answer(&frame[ETHERNET_LEN..], nic, self.info.mac, local.address())
                });
                self.counters.frames_ignored += u64::from(!answered);
                None
            }
            _ => {
                self.counters.frames_ignored += 1;
                None
            }
        }
    }

    fn receive_ipv4<N: Nic>(
        &mut self,
        now: Instant,
        frame: &mut [u8],
        peer: EthernetAddress,
        verified: bool,
        nic: &mut N,
    ) -> Option<ConnId> {
        // Accepts a header within the packet and a packet within the frame; the rest is Ethernet padding.
        let Ok(packet) = Ipv4Packet::new_checked(&frame[ETHERNET_LEN..]) else {
            self.counters.frames_malformed += 1;
            return None;
        };
        let len = usize::from(packet.total_len());
        let protocol = packet.next_header();
        if protocol == IpProtocol::Udp && is_dhcp(packet.payload()) {
            let change = self.dhcp.as_mut().and_then(|client| client.poll(now, nic, Some(frame)));
            if let Some(change) = change {
                self.set_address(change);
            }
            return None;
        }
        let ours = self.local.is_some_and(|local| local.address() == packet.dst_addr());
        let from_unicast = {
            let source = packet.src_addr();
            !(source.is_unspecified()
                || source.is_broadcast()
                || source.is_multicast()
                || source.is_loopback())
        };
        if !ours || !from_unicast || packet.more_frags() || packet.frag_offset() != 0 {
            self.counters.frames_ignored += 1;
            return None;
        }
        let bytes = &mut frame[ETHERNET_LEN..][..len];
        match protocol {
            IpProtocol::Tcp => self.receive_tcp(now, bytes, peer, verified, nic),
            IpProtocol::Icmp => {
                self.feed_unmatched(now, bytes, peer, nic);
                None
            }
            _ => {
                self.counters.frames_ignored += 1;
                None
            }
        }
    }

    fn receive_tcp<N: Nic>(
        &mut self,
        now: Instant,
        bytes: &mut [u8],
        peer: EthernetAddress,
        verified: bool,
        nic: &mut N,
    ) -> Option<ConnId> {
        let packet = Ipv4Packet::new_unchecked(&*bytes);
        let (remote, local) = (packet.src_addr(), packet.dst_addr());
        let segment = match TcpPacket::new_checked(packet.payload()) {
            Ok(segment)
                if verified || segment.verify_checksum(&IpAddress::Ipv4(remote), &IpAddress::Ipv4(local)) =>
            {
                segment
            }
            _ => {
                self.counters.frames_malformed += 1;
                return None;
            }
        };
        let key = FlowKey {
            remote: IpAddr::V4(remote),
            remote_port: segment.src_port(),
            local: IpAddr::V4(local),
            local_port: segment.dst_port(),
        };
        if let Some(&index) = self.flows.get(&key) {
            return self.feed(index, now, bytes, peer, nic);
        }
        let opens = segment.syn() && !segment.ack() && !segment.rst() && !segment.fin();
        if opens && self.config.ports.contains(&key.local_port) {
            self.time_wait.remove(&key);
            let index = self.open(key, now, peer)?;
            return self.feed(index, now, bytes, peer, nic);
        }
        if let Some(last) = self.time_wait.get(&key)
            && !segment.rst()
        {
            self.counters.time_wait_answered += 1;
            // If there is no room, the peer will repeat its FIN.
            bare::acknowledge(nic, &self.info, peer, &key, last, 0);
            return None;
        }
        self.feed_unmatched(now, bytes, peer, nic);
        None
    }

    /// Has smoltcp answer packets without a connection: RST to a stray segment, ICMP echo replies.
    fn feed_unmatched<N: Nic>(&mut self, now: Instant, bytes: &[u8], peer: EthernetAddress, nic: &mut N) {
        let mut port = Port {
            nic,
            info: &self.info,
            peer,
            received: Some(bytes),
            reserve: 0,
            bulk: false,
            last_sent: None,
            is_closed: false,
            resent: 0,
            blocked: false,
        };
        self.iface.poll_ingress_single(now.to_smoltcp(), &mut port, &mut self.no_sockets);
    }

    fn feed<N: Nic>(
        &mut self,
        index: u32,
        now: Instant,
        bytes: &mut [u8],
        peer: EthernetAddress,
        nic: &mut N,
    ) -> Option<ConnId> {
        let connection = self.slots[index as usize].as_mut()?;
        if let Some(said) = connection.last_sent.and_then(|last| closed_window::read(bytes, last.next)) {
            let (probes, resend) = Probes::after(said, connection.probes, now);
            connection.probes = probes;
            connection.resend |= resend;
        }
        let mut port = Port {
            nic,
            info: &self.info,
            peer,
            received: Some(bytes),
            reserve: 0,
            bulk: false,
            last_sent: connection.last_sent,
            is_closed: connection.probes.is_some(),
            resent: 0,
            blocked: false,
        };
        self.iface.poll_ingress_single(now.to_smoltcp(), &mut port, &mut connection.socket.set);
        connection.last_sent = port.last_sent;
        connection.resent = connection.resent.saturating_add(port.resent);
        // A gateway that fails over sends from another hardware address.
        connection.peer = peer;
        let id = ConnId { index, generation: connection.generation };
        let state = connection.socket.get().state();
        if connection.half_open && !matches!(state, State::SynReceived) {
            if matches!(state, State::Listen | State::Closed) {
                self.remove(id);
                return None;
            }
            connection.half_open = false;
            connection.deadline = None;
            self.half_open_count -= 1;
            self.counters.connections_accepted += 1;
        }
        Some(id)
    }

    fn acquire(&mut self) -> Option<PooledSocket> {
        (self.flows.len() < self.config.max_connections).then(|| self.buffers.acquire()).flatten()
    }

    /// Removes the oldest half-open connection. False if there is none.
    fn evict_half_open(&mut self) -> bool {
        while let Some(oldest) = self.half_open.pop_front() {
            if self.is_half_open(oldest) {
                self.counters.half_open_evicted += 1;
                if let Some(key) = self.key(oldest) {
                    self.turn_away(key);
                }
                self.remove(oldest);
                return true;
            }
        }
        false
    }

    /// Opens a connection for a SYN, or refuses silently, so that the client tries again.
    fn open(&mut self, key: FlowKey, now: Instant, peer: EthernetAddress) -> Option<u32> {
        while self.half_open_count >= self.config.max_half_open && self.evict_half_open() {}
        let mut socket = self.acquire();
        // Half-open connections must not deprive a new one of memory.
        while socket.is_none() && self.evict_half_open() {
            socket = self.acquire();
        }
        let Some(mut socket) = socket else {
            self.counters.connections_refused += 1;
            self.turn_away(key);
            return None;
        };
        self.connections_opened += 1;
        self.iface = interface(&self.info, self.sequence_seeds.hash_one((key, self.connections_opened)));
        configure(&mut self.iface, self.local);
        let tcp = socket.get_mut();
        // A reused socket may still hold the state of its last connection: abort and listen reset it.
        tcp.abort();
        tcp.set_congestion_control(smoltcp::socket::tcp::CongestionControl::Reno);
        tcp.set_nagle_enabled(false);
        tcp.set_keep_alive(None);
        tcp.set_timeout(None);
        if tcp.listen(key.local_port).is_err() {
            self.buffers.release(socket);
            self.counters.connections_refused += 1;
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.generations.push(0);
            self.slots.len() as u32 - 1
        });
        let generation = self.generations[index as usize];
        self.slots[index as usize] = Some(Connection {
            socket,
            key,
            peer,
            generation,
            half_open: true,
            deadline: Some(now + self.config.handshake_timeout),
            due_at: None,
            last_sent: None,
            resent: 0,
            probing: None,
            probes: None,
            resend: false,
            app: T::default(),
        });
        self.flows.insert(key, index);
        self.half_open_count += 1;
        // Entries of completed handshakes are skipped at the front; this bounds their number.
        if self.half_open.len() > self.config.max_half_open {
            let (slots, live) = (&self.slots, |id: &ConnId, slots: &[Option<Connection<T>>]| {
                slots[id.index()].as_ref().is_some_and(|c| c.generation == id.generation && c.half_open)
            });
            self.half_open.retain(|id| live(id, slots));
        }
        self.half_open.push_back(ConnId { index, generation });
        Some(index)
    }
}

fn is_dhcp(payload: &[u8]) -> bool {
    UdpPacket::new_checked(payload).is_ok_and(|udp| udp.dst_port() == DHCP_CLIENT_PORT)
}
