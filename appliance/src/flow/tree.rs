//! The scheduler of one direction: which connection may move how many bytes, and when.
//!
//! Two levels of start-time fair queueing (Goyal, Vin and Cheng, 1996): sites by weight under the server's
//! ceiling, and clients with equal shares within a site. Below that, round robin among a client's
//! connections, which equals deficit round robin (Shreedhar and Varghese, 1995) where a turn can be cut at
//! any byte. Ceilings are [`Bucket`]s that may go into debt: a class that may take anything takes a whole
//! quantum, then waits until it is paid for.
//!
//! A class is in exactly one place:
//!
//! ```text
//! connection:  idle │ express queue of its site │ bulk queue of its client
//! client:      idle │ active heap of its site (by tag) │ waiting heap (by its ceiling's time)
//! site:        idle │ ready (by tag; by guarantee's time) │ waiting (by its ceiling's time)
//! ```

use super::class::{ClientClass, Conn, Queue, SiteClass, SiteRates};
use super::heap::{Heap, Places};
use super::list::NONE;
use super::rate::{Bucket, BytesPerSec, MSS, QUANTUM_MAX};
use super::tournament::Tournament;
use alloc::vec::Vec;
use model::id::SiteId;
use model::metrics::Usage;

/// Largest size of a small response: two segments.
pub(super) const SMALL: u32 = 2 * MSS;
/// How far ahead of its share a client may still send small responses before others' bulk, in bytes.
const EXPRESS_LEAD: u64 = 4 * SMALL as u64;
/// Small responses go first until they are this many bytes ahead of bulk; then bulk gets every second byte.
const EXPRESS_CREDIT: i64 = 4 * SMALL as i64;

/// How far the virtual time among sites advances before the keys of ready sites are rebased.
const REBASE: u128 = 1 << 62;

/// The tree of one direction.
#[derive(Debug)]
pub(super) struct Tree {
    ceil: Option<Bucket>,
    /// Virtual time among sites: the tag of the last one served by weight.
    clock: u128,
    /// Largest tag of a site so far.
    latest: u128,
    sites: Vec<SiteClass>,
    clients: Vec<ClientClass>,
    conns: Vec<Conn>,
    /// Number of queued connections.
    queued: u32,
    /// Ready sites by tag, relative to `base`.
    by_weight: Tournament,
    /// Lower bound of the tags of ready sites.
    base: u128,
    /// Ready sites with a guarantee, by the time at which it may be used.
    by_guarantee: Tournament,
    waiting_sites: Tournament,
    waiting_clients: Heap<u64>,
    /// Shared by `waiting_clients` and the sites' active heaps: a client is in at most one of them.
    client_places: Places,
}

impl Tree {
    pub(super) fn new(sites: usize) -> Self {
        let mut tree = Self {
            ceil: None,
            clock: 0,
            latest: 0,
            sites: Vec::new(),
            clients: Vec::new(),
            conns: Vec::new(),
            queued: 0,
            by_weight: Tournament::new(sites),
            base: 0,
            by_guarantee: Tournament::new(sites),
            waiting_sites: Tournament::new(sites),
            waiting_clients: Heap::new(),
            client_places: Places::default(),
        };
        tree.sites.resize_with(sites, SiteClass::new);
        tree
    }

    /// Replaces all rates. Keeps debts, see [`Bucket::set_rate`], and queues.
    pub(super) fn set_rates(&mut self, ceil: Option<BytesPerSec>, rates: &[SiteRates], now_ns: u64) {
        let renew = |old: Option<Bucket>, rate: Option<BytesPerSec>, burst| {
            rate.map(|rate| match old {
                Some(mut bucket) => {
                    bucket.set_rate(rate, burst, now_ns);
                    bucket
                }
                None => Bucket::new(rate, burst),
            })
        };
        self.ceil = renew(self.ceil, ceil, None);
        for (site, rates) in self.sites.iter_mut().zip(rates) {
            site.ceil = renew(site.ceil, rates.ceil, rates.burst);
            // Without a ceiling above it, a site needs no guarantee.
            site.guarantee = renew(site.guarantee, rates.rate.filter(|_| ceil.is_some()), rates.burst);
            site.weight = rates.weight.max(1);
            site.client_ceil = rates.client_ceil;
            site.limited = ceil.or(rates.ceil).or(rates.client_ceil).is_some();
            let least = [ceil, rates.ceil, rates.client_ceil].into_iter().flatten().min();
            site.quantum = least.map_or(QUANTUM_MAX, BytesPerSec::quantum);
        }
        for id in 0..self.clients.len() as u32 {
            let client = &mut self.clients[id as usize];
            let Some(site) = self.sites.get(client.site.index()) else { continue };
            client.ceil = renew(client.ceil, site.client_ceil, None);
            self.place_client(id, now_ns);
        }
        SiteId::first(self.sites.len()).for_each(|site| self.place_site(site, now_ns));
    }

    /// Adds a client address.
    pub(super) fn add_client(&mut self, id: u32, site: SiteId) {
        let len = id as usize + 1;
        if self.clients.len() < len {
            self.clients.resize(len, ClientClass::VACANT);
            self.client_places.grow(len);
            self.waiting_clients.reserve(len);
        }
        let class = &mut self.sites[site.index()];
        class.clients += 1;
        class.active.reserve(class.clients as usize);
        let ceil = class.client_ceil.map(|rate| Bucket::new(rate, None));
        self.clients[id as usize] = ClientClass { site, ceil, ..ClientClass::VACANT };
    }

    /// Removes a client address, which must have no connections.
    pub(super) fn remove_client(&mut self, id: u32) {
        let site = self.clients[id as usize].site;
        self.waiting_clients.remove(id, &mut self.client_places);
        self.sites[site.index()].active.remove(id, &mut self.client_places);
        self.sites[site.index()].clients -= 1;
        self.clients[id as usize] = ClientClass::VACANT;
    }

    /// Assigns a connection to a client.
    pub(super) fn attach(&mut self, conn: u32, client: u32) {
        if self.conns.len() <= conn as usize {
            self.conns.resize(conn as usize + 1, Conn::default());
        }
        self.conns[conn as usize] = Conn { client, ..Conn::default() };
    }

    /// Starts a response or upload on this connection, which may count as small.
    #[inline]
    pub(super) fn begin(&mut self, conn: u32) {
        if let Some(conn) = self.conns.get_mut(conn as usize) {
            conn.small_left = SMALL;
        }
    }

    /// Removes a connection from its client.
    pub(super) fn detach(&mut self, conn: u32, now_ns: u64) {
        if self.conns.get(conn as usize).is_some_and(|c| c.client != NONE) {
            self.cancel(conn, now_ns);
            self.conns[conn as usize] = Conn::default();
        }
    }

    /// Cancels a connection's request.
    pub(super) fn cancel(&mut self, id: u32, now_ns: u64) {
        let Some(&conn) = self.conns.get(id as usize).filter(|conn| conn.queue != Queue::None) else {
            return;
        };
        let site = self.clients[conn.client as usize].site;
        self.leave_queue(id);
        self.place_client(conn.client, now_ns);
        self.place_site(site, now_ns);
    }

    /// Bytes granted at once of `wanted`. If that is less, the connection waits until [`Tree::pop`] names it.
    /// A connection that already waits gets nothing, and only changes what it wants.
    #[inline]
    pub(super) fn request(&mut self, id: u32, wanted: u32, now_ns: u64) -> u32 {
        let Some(conn) = self.conns.get_mut(id as usize).filter(|conn| conn.client != NONE) else {
            // Not assigned yet, for a response to a request that could not be routed: charged to the server.
            if let Some(bucket) = &mut self.ceil {
                bucket.take(wanted, now_ns);
            }
            return wanted;
        };
        let client = &self.clients[conn.client as usize];
        let site = &mut self.sites[client.site.index()];
        if conn.queue != Queue::None {
            site.queued_bytes = site.queued_bytes + u64::from(wanted) - u64::from(conn.wanted);
            conn.wanted = wanted;
            if wanted == 0 {
                self.cancel(id, now_ns);
            }
            return 0;
        }
        if !site.limited {
            site.meter.add(wanted, now_ns);
            return wanted;
        }
        if wanted == 0 { 0 } else { self.request_limited(id, wanted, now_ns) }
    }

    fn request_limited(&mut self, id: u32, wanted: u32, now_ns: u64) -> u32 {
        let conn = self.conns[id as usize];
        let client = &self.clients[conn.client as usize];
        let s = client.site;
        let site = &mut self.sites[s.index()];
        let free = !site.is_runnable()
            && site.ceil.is_none_or(|bucket| bucket.is_ready(now_ns))
            && client.is_ready(now_ns)
            && self.ceil.is_none_or(|bucket| bucket.is_ready(now_ns) && self.by_weight.is_empty());
        let mut granted = 0;
        if free {
            // Nothing waits and nothing is owed: earlier advantages are forgotten.
            site.clock = site.clock.max(site.latest);
            site.credit = EXPRESS_CREDIT;
            let small = wanted <= conn.small_left;
            granted = if small { wanted } else { wanted.min(site.quantum) };
            let guaranteed = site.guarantee.is_some_and(|bucket| bucket.is_ready(now_ns));
            self.advance_clock(self.latest);
            self.charge(id, granted, guaranteed, now_ns);
        }
        if granted < wanted {
            self.enqueue(id, wanted - granted, now_ns);
        }
        granted
    }

    /// Charges bytes that were not requested: retransmissions.
    pub(super) fn charge_only(&mut self, id: u32, bytes: u32, now_ns: u64) {
        let attached = self.conns.get(id as usize).is_some_and(|conn| conn.client != NONE);
        if attached {
            self.charge(id, bytes, false, now_ns);
            let site = self.clients[self.conns[id as usize].client as usize].site;
            self.place_site(site, now_ns);
        }
    }

    /// The next connection whose turn has come, and the bytes granted.
    #[inline]
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<(u32, u32)> {
        if self.queued == 0 { None } else { self.pop_queued(now_ns) }
    }

    fn pop_queued(&mut self, now_ns: u64) -> Option<(u32, u32)> {
        while let Some((at, client)) = self.waiting_clients.first()
            && at <= now_ns
        {
            self.waiting_clients.remove(client, &mut self.client_places);
            self.place_client(client, now_ns);
            self.place_site(self.clients[client as usize].site, now_ns);
        }
        while let Some((at, site)) = self.waiting_sites.first()
            && at <= now_ns
        {
            self.place_site(site, now_ns);
        }
        while self.ceil.is_none_or(|bucket| bucket.is_ready(now_ns)) {
            let promised = self.by_guarantee.first().filter(|&(at, _)| at <= now_ns);
            let site = match promised {
                Some((_, site)) => site,
                None => {
                    let (_, site) = self.by_weight.first()?;
                    self.advance_clock(self.sites[site.index()].tag);
                    site
                }
            };
            let granted = self.serve(site, promised.is_some(), now_ns);
            self.place_site(site, now_ns);
            if granted.is_some() {
                return granted;
            }
        }
        None
    }

    /// When [`Tree::pop`] will next have something, if nothing changes; 0 if now.
    #[inline]
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        if self.queued == 0 { None } else { self.first_deadline_ns() }
    }

    fn first_deadline_ns(&self) -> Option<u64> {
        let paid = self.ceil.map_or(0, |bucket| bucket.ready_ns());
        if !self.by_weight.is_empty() {
            return Some(paid);
        }
        let site = self.waiting_sites.first().map_or(u64::MAX, |(at, _)| at);
        let client = self.waiting_clients.first().map_or(u64::MAX, |(at, _)| at);
        let first = site.min(client);
        (first < u64::MAX).then(|| first.max(paid))
    }

    pub(super) fn usage(&self, site: SiteId, now_ns: u64) -> Option<Usage> {
        self.sites.get(site.index()).map(|site| site.usage(now_ns))
    }

    /// Whether the connection is waiting for a grant.
    pub(super) fn is_waiting(&self, conn: u32) -> bool {
        self.conns.get(conn as usize).is_some_and(|conn| conn.queue != Queue::None)
    }

    /// Serves the next connection of a site. `None` if its client turned out to be at its own ceiling, and
    /// was moved out of the way.
    fn serve(&mut self, s: SiteId, guaranteed: bool, now_ns: u64) -> Option<(u32, u32)> {
        let site = &mut self.sites[s.index()];
        let express = site.express.first().filter(|_| site.credit > 0 || site.active.is_empty());
        let (id, most) = match express {
            Some(id) => {
                let conn = self.conns[id as usize];
                if !self.clients[conn.client as usize].is_ready(now_ns) {
                    self.leave_queue(id);
                    self.enqueue_bulk(id, conn.wanted, now_ns);
                    return None;
                }
                (id, conn.small_left)
            }
            None => {
                let (tag, c) = site.active.first()?;
                site.clock = site.clock.max(tag);
                let client = &mut self.clients[c as usize];
                let first = client.bulk.first().filter(|_| client.is_ready(now_ns));
                let Some(id) = first else {
                    self.place_client(c, now_ns);
                    return None;
                };
                (id, site.quantum)
            }
        };
        let conn = self.conns[id as usize];
        let granted = conn.wanted.min(most.max(1));
        let site = &mut self.sites[s.index()];
        let step = if conn.queue == Queue::Express { -i64::from(granted) } else { i64::from(granted) };
        site.credit = (site.credit + step).clamp(-EXPRESS_CREDIT, EXPRESS_CREDIT);
        let left = conn.wanted - granted;
        if left > 0 && conn.queue == Queue::Bulk {
            // It moves behind its client's other connections.
            site.queued_bytes -= u64::from(granted);
            self.conns[id as usize].wanted = left;
            self.clients[conn.client as usize].bulk.move_back(id, &mut self.conns);
        } else {
            self.leave_queue(id);
        }
        self.charge(id, granted, guaranteed, now_ns);
        if left > 0 && conn.queue == Queue::Express {
            self.enqueue_bulk(id, left, now_ns);
        } else {
            self.place_client(conn.client, now_ns);
        }
        Some((id, granted))
    }

    /// Advances the virtual time among sites, and rebases the keys of ready sites before they overflow: keys
    /// are half as long as tags, and comparing them is much of the scheduler's work.
    fn advance_clock(&mut self, tag: u128) {
        self.clock = self.clock.max(tag);
        if self.clock - self.base >= REBASE {
            let passed = u64::try_from(self.clock - self.base).unwrap_or(u64::MAX);
            let by = self.by_weight.first().map_or(passed, |(least, _)| least.min(passed));
            self.by_weight.lower(by);
            self.base += u128::from(by);
        }
    }

    /// Charges bytes to every bucket on a connection's path.
    fn charge(&mut self, id: u32, bytes: u32, guaranteed: bool, now_ns: u64) {
        let conn = &mut self.conns[id as usize];
        conn.small_left = conn.small_left.saturating_sub(bytes);
        let client = &mut self.clients[conn.client as usize];
        let site = &mut self.sites[client.site.index()];
        let buckets = [&mut self.ceil, &mut site.ceil, &mut client.ceil];
        buckets.into_iter().flatten().for_each(|bucket| bucket.take(bytes, now_ns));
        client.tag = client.tag.max(site.clock) + u64::from(bytes);
        site.latest = site.latest.max(client.tag);
        site.meter.add(bytes, now_ns);
        match &mut site.guarantee {
            Some(bucket) if guaranteed => bucket.take(bytes, now_ns),
            _ if self.ceil.is_some() => {
                site.advance(self.clock, bytes);
                self.latest = self.latest.max(site.tag);
            }
            _ => {}
        }
    }

    fn enqueue(&mut self, id: u32, wanted: u32, now_ns: u64) {
        let conn = self.conns[id as usize];
        let client = &self.clients[conn.client as usize];
        let s = client.site;
        let site = &mut self.sites[s.index()];
        site.delayed += 1;
        let small = wanted <= conn.small_left && client.tag <= site.clock + EXPRESS_LEAD;
        if small && client.is_ready(now_ns) {
            site.express.push(id, &mut self.conns);
            self.queue(id, Queue::Express, wanted);
        } else {
            self.enqueue_bulk(id, wanted, now_ns);
        }
        self.place_site(s, now_ns);
    }

    fn enqueue_bulk(&mut self, id: u32, wanted: u32, now_ns: u64) {
        let c = self.conns[id as usize].client;
        self.clients[c as usize].bulk.push(id, &mut self.conns);
        self.queue(id, Queue::Bulk, wanted);
        self.place_client(c, now_ns);
    }

    fn queue(&mut self, id: u32, queue: Queue, wanted: u32) {
        let conn = &mut self.conns[id as usize];
        (conn.queue, conn.wanted) = (queue, wanted);
        let site = &mut self.sites[self.clients[conn.client as usize].site.index()];
        site.queued += 1;
        self.queued += 1;
        site.queued_bytes += u64::from(wanted);
    }

    /// Removes a connection from its queue.
    fn leave_queue(&mut self, id: u32) {
        let conn = self.conns[id as usize];
        let client = &mut self.clients[conn.client as usize];
        let site = &mut self.sites[client.site.index()];
        match conn.queue {
            Queue::None => return,
            Queue::Express => site.express.remove(id, &mut self.conns),
            Queue::Bulk => client.bulk.remove(id, &mut self.conns),
        }
        site.queued -= 1;
        self.queued -= 1;
        site.queued_bytes -= u64::from(conn.wanted);
        let conn = &mut self.conns[id as usize];
        (conn.queue, conn.wanted) = (Queue::None, 0);
    }

    /// Moves a client to its proper place after a change.
    fn place_client(&mut self, id: u32, now_ns: u64) {
        let client = &mut self.clients[id as usize];
        let Some(site) = self.sites.get_mut(client.site.index()) else { return };
        let wait = client.ceil.filter(|bucket| !bucket.is_ready(now_ns));
        match wait {
            _ if client.bulk.is_empty() => {
                site.active.remove(id, &mut self.client_places);
                self.waiting_clients.remove(id, &mut self.client_places);
            }
            Some(bucket) => {
                site.active.remove(id, &mut self.client_places);
                self.waiting_clients.set(id, bucket.ready_ns(), &mut self.client_places);
            }
            None => {
                self.waiting_clients.remove(id, &mut self.client_places);
                client.tag = client.tag.max(site.clock);
                site.active.set(id, client.tag, &mut self.client_places);
            }
        }
    }

    /// Moves a site to its proper place after a change.
    fn place_site(&mut self, id: SiteId, now_ns: u64) {
        let site = &mut self.sites[id.index()];
        let wait = site.ceil.filter(|bucket| !bucket.is_ready(now_ns));
        if site.is_runnable() && wait.is_none() {
            self.waiting_sites.remove(id);
            site.tag = site.tag.max(self.clock);
            let above = u64::try_from(site.tag - self.base).unwrap_or(u64::MAX);
            self.by_weight.set(id, above);
            if let Some(bucket) = site.guarantee {
                self.by_guarantee.set(id, bucket.ready_ns());
            } else {
                self.by_guarantee.remove(id);
            }
            return;
        }
        self.by_weight.remove(id);
        self.by_guarantee.remove(id);
        match wait.filter(|_| site.is_runnable()) {
            Some(bucket) => self.waiting_sites.set(id, bucket.ready_ns()),
            None => self.waiting_sites.remove(id),
        }
    }
}
