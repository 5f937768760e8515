//! The scheduler: who may move how many bytes, and when the next may.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996) twice, over one another: sites by weight under the server's
//! ceiling, clients equally inside a site; then round robin in turns among a client's connections, which is what deficit
//! round robin (Shreedhar and Varghese, 1995) comes to where a turn can be cut at any byte. Ceilings are [`Bucket`]s that
//! may go into debt: who may take at all takes a whole turn and then waits until it is paid for.
//!
//! A class stands in exactly one place:
//!
//! ```text
//! connection:  idle │ express queue of its site │ bulk queue of its client
//! client:      idle │ active heap of its site (by tag) │ waiting heap (by its ceiling's time)
//! site:        idle │ ready (by tag; by guarantee's time) │ waiting (by its ceiling's time)
//! ```

use super::class::{Client, Conn, Queue, Site, SiteRates};
use super::heap::{Heap, Places};
use super::list::NONE;
use super::rate::{Bucket, BytesPerSec, MSS, TURN_MAX};
use super::tournament::Tournament;
use alloc::vec::Vec;
use model::metrics::Usage;

/// A response of at most so many bytes is small: two segments.
pub(super) const SMALL: u32 = 2 * MSS;
/// How far a client that is ahead of its share may still send small responses ahead of others' bulk, in bytes.
const EXPRESS_LEAD: u64 = 4 * SMALL as u64;
/// Small responses pass until they are so many bytes ahead of bulk; from then on bulk gets every second byte.
const EXPRESS_CREDIT: i64 = 4 * SMALL as i64;

/// How far the virtual time among sites moves before the keys of ready sites begin anew.
const REBASE: u128 = 1 << 62;

/// The tree of one direction.
#[derive(Debug)]
pub(super) struct Tree {
    ceil: Option<Bucket>,
    /// Virtual time among sites: the tag of the one served last by weight.
    clock: u128,
    /// Largest tag of a site so far.
    latest: u128,
    sites: Vec<Site>,
    clients: Vec<Client>,
    conns: Vec<Conn>,
    /// Connections in any queue.
    queued: u32,
    /// By tag, as far as it is above `base`.
    by_weight: Tournament,
    /// No ready site's tag is below it.
    base: u128,
    /// Of the ready sites, those with a guarantee, by the time it may be used.
    by_guarantee: Tournament,
    waiting_sites: Tournament,
    waiting_clients: Heap<u64>,
    /// Shared by `waiting_clients` and the sites' active heaps, of which a client is in one at most.
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
        tree.sites.resize_with(sites, Site::new);
        tree
    }

    /// Sets all rates anew. Debts are kept as [`Bucket::retune`] says, queues as they are.
    pub(super) fn retune(&mut self, ceil: Option<BytesPerSec>, rates: &[SiteRates], now_ns: u64) {
        let renew = |old: Option<Bucket>, rate: Option<BytesPerSec>, burst| {
            rate.map(|rate| match old {
                Some(mut bucket) => {
                    bucket.retune(rate, burst, now_ns);
                    bucket
                }
                None => Bucket::new(rate, burst),
            })
        };
        self.ceil = renew(self.ceil, ceil, None);
        for (site, rates) in self.sites.iter_mut().zip(rates) {
            site.ceil = renew(site.ceil, rates.ceil, rates.burst);
            // Without a ceiling above it, a site needs no promise.
            site.guarantee = renew(site.guarantee, rates.rate.filter(|_| ceil.is_some()), rates.burst);
            site.weight = rates.weight.max(1);
            site.client_ceil = rates.client_ceil;
            site.limited = ceil.or(rates.ceil).or(rates.client_ceil).is_some();
            let least = [ceil, rates.ceil, rates.client_ceil].into_iter().flatten().min();
            site.turn = least.map_or(TURN_MAX, BytesPerSec::turn);
        }
        for id in 0..self.clients.len() as u32 {
            let client = &mut self.clients[id as usize];
            let Some(site) = self.sites.get(client.site as usize) else { continue };
            client.ceil = renew(client.ceil, site.client_ceil, None);
            self.place_client(id, now_ns);
        }
        (0..self.sites.len() as u32).for_each(|site| self.place_site(site, now_ns));
    }

    /// A client address appears.
    pub(super) fn add_client(&mut self, id: u32, site: u32) {
        let len = id as usize + 1;
        if self.clients.len() < len {
            self.clients.resize(len, Client::NOBODY);
            self.client_places.grow(len);
            self.waiting_clients.reserve(len);
        }
        let class = &mut self.sites[site as usize];
        class.clients += 1;
        class.active.reserve(class.clients as usize);
        let ceil = class.client_ceil.map(|rate| Bucket::new(rate, None));
        self.clients[id as usize] = Client { site, ceil, ..Client::NOBODY };
    }

    /// A client address is forgotten; it has no connections.
    pub(super) fn remove_client(&mut self, id: u32) {
        let site = self.clients[id as usize].site;
        self.waiting_clients.remove(id, &mut self.client_places);
        self.sites[site as usize].active.remove(id, &mut self.client_places);
        self.sites[site as usize].clients -= 1;
        self.clients[id as usize] = Client::NOBODY;
    }

    /// A connection begins to belong to a client.
    pub(super) fn attach(&mut self, conn: u32, client: u32) {
        if self.conns.len() <= conn as usize {
            self.conns.resize(conn as usize + 1, Conn::default());
        }
        self.conns[conn as usize] = Conn { client, ..Conn::default() };
    }

    /// A response or an upload begins on this connection: if it is small, it may pass as such.
    #[inline]
    pub(super) fn begin(&mut self, conn: u32) {
        if let Some(conn) = self.conns.get_mut(conn as usize) {
            conn.small_left = SMALL;
        }
    }

    /// A connection belongs to nobody any more.
    pub(super) fn detach(&mut self, conn: u32, now_ns: u64) {
        if self.conns.get(conn as usize).is_some_and(|c| c.client != NONE) {
            self.cancel(conn, now_ns);
            self.conns[conn as usize] = Conn::default();
        }
    }

    /// A connection has nothing to send any more.
    pub(super) fn cancel(&mut self, id: u32, now_ns: u64) {
        let Some(&conn) = self.conns.get(id as usize).filter(|conn| conn.queue != Queue::None) else {
            return;
        };
        let site = self.clients[conn.client as usize].site;
        self.leave_queue(id);
        self.place_client(conn.client, now_ns);
        self.place_site(site, now_ns);
    }

    /// Bytes granted at once of `wanted`. If that is less, the connection waits, and [`Tree::pop`] names it later; a
    /// connection that waits already gets nothing and only changes what it wants.
    #[inline]
    pub(super) fn request(&mut self, id: u32, wanted: u32, now_ns: u64) -> u32 {
        let Some(conn) = self.conns.get_mut(id as usize).filter(|conn| conn.client != NONE) else {
            // Nobody's yet: an answer to a request that could not be routed. Paid for by the server.
            if let Some(bucket) = &mut self.ceil {
                bucket.take(wanted, now_ns);
            }
            return wanted;
        };
        let client = &self.clients[conn.client as usize];
        let site = &mut self.sites[client.site as usize];
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
        let site = &mut self.sites[s as usize];
        let free = !site.is_runnable()
            && site.ceil.is_none_or(|bucket| bucket.is_ready(now_ns))
            && client.is_ready(now_ns)
            && self.ceil.is_none_or(|bucket| bucket.is_ready(now_ns) && self.by_weight.is_empty());
        let mut granted = 0;
        if free {
            // Nothing waits and nothing is owed: whoever was ahead of the others is so no longer.
            site.clock = site.clock.max(site.latest);
            site.credit = EXPRESS_CREDIT;
            let small = wanted <= conn.small_left;
            granted = if small { wanted } else { wanted.min(site.turn) };
            let guaranteed = site.guarantee.is_some_and(|bucket| bucket.is_ready(now_ns));
            self.advance_clock(self.latest);
            self.charge(id, granted, guaranteed, now_ns);
        }
        if granted < wanted {
            self.enqueue(id, wanted - granted, now_ns);
        }
        granted
    }

    /// Charges bytes that were not asked for: retransmissions.
    pub(super) fn charge_only(&mut self, id: u32, bytes: u32, now_ns: u64) {
        let attached = self.conns.get(id as usize).is_some_and(|conn| conn.client != NONE);
        if attached {
            self.charge(id, bytes, false, now_ns);
            let site = self.clients[self.conns[id as usize].client as usize].site;
            self.place_site(site, now_ns);
        }
    }

    /// The next connection whose time has come, and how many bytes it is granted.
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
                    self.advance_clock(self.sites[site as usize].tag);
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

    /// When [`Tree::pop`] has something next, if nothing changes; at once is 0.
    #[inline]
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        if self.queued == 0 { None } else { self.first_deadline_ns() }
    }

    fn first_deadline_ns(&self) -> Option<u64> {
        let paid = self.ceil.map_or(0, |bucket| bucket.ready_ns());
        if !self.by_weight.is_empty() {
            return Some(paid);
        }
        let time = |first: Option<(u64, u32)>| first.map_or(u64::MAX, |(at, _)| at);
        let first = time(self.waiting_sites.first()).min(time(self.waiting_clients.first()));
        (first < u64::MAX).then(|| first.max(paid))
    }

    pub(super) fn usage(&self, site: usize, now_ns: u64) -> Option<Usage> {
        self.sites.get(site).map(|site| site.usage(now_ns))
    }

    /// Whether the connection waits for its turn.
    pub(super) fn is_waiting(&self, conn: u32) -> bool {
        self.conns.get(conn as usize).is_some_and(|conn| conn.queue != Queue::None)
    }

    /// Lets a site's next connection take its turn. `None` if that one's client has reached its own ceiling instead,
    /// which moved it out of the way.
    fn serve(&mut self, s: u32, guaranteed: bool, now_ns: u64) -> Option<(u32, u32)> {
        let site = &mut self.sites[s as usize];
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
                (id, site.turn)
            }
        };
        let conn = self.conns[id as usize];
        let granted = conn.wanted.min(most.max(1));
        let site = &mut self.sites[s as usize];
        let step = if conn.queue == Queue::Express { -i64::from(granted) } else { i64::from(granted) };
        site.credit = (site.credit + step).clamp(-EXPRESS_CREDIT, EXPRESS_CREDIT);
        let left = conn.wanted - granted;
        if left > 0 && conn.queue == Queue::Bulk {
            // It stays where it is: behind its client's others.
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

    /// Moves the virtual time among sites on, and the base of ready sites' keys with it before those overflow: they are half as
    /// long as tags, and much of the scheduler's work is comparing them.
    fn advance_clock(&mut self, tag: u128) {
        self.clock = self.clock.max(tag);
        if self.clock - self.base >= REBASE {
            let passed = u64::try_from(self.clock - self.base).unwrap_or(u64::MAX);
            let by = self.by_weight.first().map_or(passed, |(least, _)| least.min(passed));
            self.by_weight.lower(by);
            self.base += u128::from(by);
        }
    }

    /// Takes bytes out of every bucket on a connection's way.
    fn charge(&mut self, id: u32, bytes: u32, guaranteed: bool, now_ns: u64) {
        let conn = &mut self.conns[id as usize];
        conn.small_left = conn.small_left.saturating_sub(bytes);
        let client = &mut self.clients[conn.client as usize];
        let site = &mut self.sites[client.site as usize];
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
        let site = &mut self.sites[s as usize];
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
        let site = &mut self.sites[self.clients[conn.client as usize].site as usize];
        site.queued += 1;
        self.queued += 1;
        site.queued_bytes += u64::from(wanted);
    }

    /// Takes a connection out of the queue it stands in.
    fn leave_queue(&mut self, id: u32) {
        let conn = self.conns[id as usize];
        let client = &mut self.clients[conn.client as usize];
        let site = &mut self.sites[client.site as usize];
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

    /// Puts a client where it belongs after a change.
    fn place_client(&mut self, id: u32, now_ns: u64) {
        let client = &mut self.clients[id as usize];
        let Some(site) = self.sites.get_mut(client.site as usize) else { return };
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

    /// Puts a site where it belongs after a change.
    fn place_site(&mut self, id: u32, now_ns: u64) {
        let site = &mut self.sites[id as usize];
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
