//! Connected clients: one entry per client address of a site (or of the server), regardless of its number of
//! connections.
//!
//! An entry outlives its last connection for a while, so that a client cannot clear its debts by
//! reconnecting.

use super::list::{Linked, Links, List};
use super::requests::RequestBucket;
use crate::table::KeyedHash;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use hashbrown::HashMap;
use model::id::SiteId;

/// How long a client without connections is remembered.
const REMEMBER_NS: u64 = 60_000_000_000;
/// Limit on such entries; the oldest makes room.
const REMEMBER_MAX: usize = 1024;

/// A client: an IPv4 address, or the /64 from which an IPv6 host may choose its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    /// `None`: the server.
    site: Option<SiteId>,
    address: u64,
    v6: bool,
}

impl ClientKey {
    pub(super) fn new(site: Option<SiteId>, address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self { site, address: u64::from(v4.to_bits()), v6: false },
            IpAddr::V6(v6) => Self { site, address: prefix_64(v6), v6: true },
        }
    }
}

fn prefix_64(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
}

#[derive(Clone, Debug)]
struct Entry {
    key: ClientKey,
    connections: u32,
    requests: RequestBucket,
    /// When the entry is removed, if it has no connections.
    expires_ns: u64,
    links: Links,
}

impl Linked for Entry {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Clients by index.
#[derive(Debug)]
pub(super) struct Directory {
    numbers: HashMap<ClientKey, u32, KeyedHash>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Clients without connections, the longest gone first.
    gone: List,
    gone_count: usize,
}

impl Directory {
    pub(super) fn new(hash: KeyedHash) -> Self {
        Self {
            numbers: HashMap::with_hasher(hash),
            entries: Vec::new(),
            free: Vec::new(),
            gone: List::default(),
            gone_count: 0,
        }
    }

    pub(super) fn find(&self, key: &ClientKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// Number of connections of a client.
    pub(super) fn connections(&self, id: u32) -> u32 {
        self.entries.get(id as usize).map_or(0, |entry| entry.connections)
    }

    pub(super) fn requests(&mut self, id: u32) -> Option<&mut RequestBucket> {
        self.entries.get_mut(id as usize).map(|entry| &mut entry.requests)
    }

    /// Adds a connection. The second value tells whether the client is new.
    pub(super) fn enter(&mut self, key: ClientKey) -> (u32, bool) {
        if let Some(id) = self.find(&key) {
            if let Some(entry) = self.entries.get_mut(id as usize) {
                entry.connections += 1;
                if entry.connections == 1 {
                    self.gone.remove(id, &mut self.entries);
                    self.gone_count -= 1;
                }
            }
            return (id, false);
        }
        let entry = Entry {
            key,
            connections: 1,
            requests: RequestBucket::default(),
            expires_ns: 0,
            links: Links::default(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        if self.numbers.len() * 2 >= self.numbers.capacity() {
            // Twice the entries, so that deletions never force a rebuild at the same size.
            self.numbers.reserve(self.numbers.len() * 2 + 64);
        }
        self.numbers.insert(key, id);
        (id, true)
    }

    /// Removes a connection.
    pub(super) fn leave(&mut self, id: u32, now_ns: u64) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        entry.connections = entry.connections.saturating_sub(1);
        if entry.connections == 0 {
            entry.expires_ns = now_ns.saturating_add(REMEMBER_NS);
            self.gone.push(id, &mut self.entries);
            self.gone_count += 1;
        }
    }

    /// Removes a client that has been gone for long enough, or because there are too many. Returns its index,
    /// which may be reused.
    pub(super) fn forget(&mut self, now_ns: u64) -> Option<u32> {
        let id = self.gone.first()?;
        let entry = self.entries.get(id as usize)?;
        if entry.expires_ns > now_ns && self.gone_count <= REMEMBER_MAX {
            return None;
        }
        self.numbers.remove(&entry.key);
        self.gone.remove(id, &mut self.entries);
        self.gone_count -= 1;
        self.free.push(id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> ClientKey {
        ClientKey::new(Some(SiteId(0)), IpAddr::V4(core::net::Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let key = |text: &str| ClientKey::new(Some(SiteId(0)), text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn absent_clients_are_remembered_within_bounds() {
        let mut directory = Directory::new(KeyedHash(1, 2));
        let (id, new) = directory.enter(key(1));
        assert!(new);
        directory.leave(id, 0);
        assert_eq!(directory.forget(REMEMBER_NS - 1), None);
        assert_eq!(directory.enter(key(1)), (id, false));
        directory.leave(id, 5);
        assert_eq!(directory.forget(REMEMBER_NS + 5), Some(id));
        assert_eq!(directory.find(&key(1)), None);
        for n in 0..5000 {
            let (id, _) = directory.enter(key(n));
            directory.leave(id, 10);
            while directory.forget(10).is_some() {}
            assert!(directory.gone_count <= REMEMBER_MAX && directory.entries.len() <= REMEMBER_MAX + 1);
        }
    }
}
