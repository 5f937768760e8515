//! Sockets and their buffers: their cost per connection, and how it shrinks as memory fills up.
//!
//! smoltcp cannot resize a socket's buffers, so sizes are chosen when a connection opens: large while there
//! is room, small when there is not. Sockets are reused whole, since clearing 128 KiB costs more than a
//! request.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use smoltcp::iface::{SocketSet, SocketStorage};
use smoltcp::socket::tcp;

/// A choice of buffer sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// 65,535 bytes to receive, 64 KiB to send: the largest window without scaling (RFC 7323 §2.2), and no
    /// less than a segment on the host's loopback (65,483 bytes). passt sends segments smaller than it would
    /// like only every 200 ms.
    Large,
    /// 8 KiB to receive, 16 KiB to send.
    Medium,
    /// 2 KiB to receive, 4 KiB to send: including its socket, an idle connection takes less than 8 KiB.
    Small,
}

const TIERS: [Tier; 3] = [Tier::Large, Tier::Medium, Tier::Small];

impl Tier {
    /// Receive buffer in bytes.
    pub const fn receive_len(self) -> usize {
        match self {
            Tier::Large => 65_535,
            Tier::Medium => 8 << 10,
            Tier::Small => 2 << 10,
        }
    }

    /// Send buffer in bytes.
    pub const fn send_len(self) -> usize {
        match self {
            Tier::Large => 64 << 10,
            Tier::Medium => 16 << 10,
            Tier::Small => 4 << 10,
        }
    }

    /// Total memory of a socket of this tier, in bytes.
    pub const fn cost(self) -> usize {
        self.receive_len() + self.send_len() + size_of::<SocketStorage<'static>>()
    }
}

/// A smoltcp socket alone in its set, which makes every operation on the set O(1).
pub(super) struct PooledSocket {
    pub(super) set: SocketSet<'static>,
    handle: smoltcp::iface::SocketHandle,
    tier: Tier,
}

impl PooledSocket {
    fn new(tier: Tier) -> Self {
        let buffer = |len| tcp::SocketBuffer::new(vec![0; len]);
        let mut set =
            SocketSet::new(Vec::from(Box::<[SocketStorage<'static>; 1]>::new([SocketStorage::EMPTY])
                as Box<[SocketStorage<'static>]>));
        let handle = set.add(tcp::Socket::new(buffer(tier.receive_len()), buffer(tier.send_len())));
        Self { set, handle, tier }
    }

    pub(super) fn get(&self) -> &tcp::Socket<'static> {
        self.set.get(self.handle)
    }

    pub(super) fn get_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }
}

/// Memory of all sockets, in use and spare.
pub(super) struct SocketPool {
    budget: usize,
    in_use: usize,
    spare: [Vec<PooledSocket>; 3],
    spare_bytes: usize,
}

impl SocketPool {
    /// Allows `budget` bytes for sockets and their buffers.
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, in_use: 0, spare: [const { Vec::new() }; 3], spare_bytes: 0 }
    }

    /// Bytes held by open connections.
    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }

    /// A socket of the largest tier that the budget allows now, or `None` if it is exhausted.
    pub(super) fn acquire(&mut self) -> Option<PooledSocket> {
        let tier = self.tier()?;
        self.in_use += tier.cost();
        if let Some(socket) = self.spare[tier as usize].pop() {
            self.spare_bytes -= tier.cost();
            return Some(socket);
        }
        for other in TIERS {
            while self.in_use + self.spare_bytes > self.budget && self.spare[other as usize].pop().is_some() {
                self.spare_bytes -= other.cost();
            }
        }
        Some(PooledSocket::new(tier))
    }

    /// Takes back the socket of a closed connection.
    pub(super) fn release(&mut self, socket: PooledSocket) {
        let tier = socket.tier;
        self.in_use -= tier.cost();
        if self.in_use + self.spare_bytes + tier.cost() <= self.budget {
            self.spare_bytes += tier.cost();
            self.spare[tier as usize].push(socket);
        }
    }

    fn tier(&self) -> Option<Tier> {
        let limit = |tier| match tier {
            Tier::Large => self.budget / 4,
            Tier::Medium => self.budget / 8 * 3,
            Tier::Small => self.budget,
        };
        TIERS.into_iter().find(|&tier| self.in_use + tier.cost() <= limit(tier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generous_first_then_small_then_none_and_never_over_budget() {
        let mut buffers = SocketPool::new(2 << 20);
        let mut held = Vec::new();
        while let Some(socket) = buffers.acquire() {
            assert!(buffers.in_use() <= 2 << 20);
            held.push(socket);
        }
        let tiers: Vec<Tier> = held.iter().map(|s| s.tier).collect();
        assert_eq!(tiers[0], Tier::Large);
        assert_eq!(tiers[tiers.len() - 1], Tier::Small);
        assert!(tiers.windows(2).all(|w| w[0] as u8 <= w[1] as u8));
        held.into_iter().for_each(|s| buffers.release(s));
        assert_eq!(buffers.in_use(), 0);
        assert!(buffers.spare_bytes <= 2 << 20);
        assert_eq!(buffers.acquire().unwrap().tier, Tier::Large);
    }

    #[test]
    fn an_idle_connection_costs_at_most_eight_kib() {
        assert!(Tier::Small.cost() <= 8 << 10, "{}", Tier::Small.cost());
    }
}
