//! Bandwidth control: guaranteed rates, ceilings, and fair sharing among sites and clients.
//!
//! ```text
//!                    server  ceil
//!          ┌───────────┼────────────┐
//!        site        site         site      rate (guaranteed), ceil, burst, weight
//!      ┌───┴───┐
//!   client  client                          ceil; equal shares
//!   ┌──┴─┐
//! conn  conn                                in turn
//! ```
//!
//! # How a byte gets through
//!
//! A connection with data for its client calls [`Flow::request`] before it moves bytes into its send buffer,
//! and moves as many as it is granted. If it wanted more, it waits until [`Flow::pop_ready`] names it;
//! [`Flow::next_deadline_ns`] tells when that will be, to the nanosecond. Nothing is polled, and grants are
//! never made in advance. Without a ceiling, a request costs a few comparisons.
//!
//! - **Ceilings** ([`Bucket`]) apply to the server, each site and each client of a site.
//! - **Between sites**: sites below their guaranteed `rate` go first, the longest waiting of them before the
//!   others; the rest of the server's ceiling is shared by `weight`. Guaranteed bytes do not count when the
//!   rest is shared.
//! - **Between the clients of a site**: equal shares of bytes, regardless of their number of connections.
//! - **Between a client's connections**: round robin.
//! - **Small responses** (at most two segments) go ahead of bulk. A client may get ahead of its share by four
//!   of them, and all of them together get at most every second byte while bulk waits, so neither can be
//!   starved.
//! - **Quanta** ([`BytesPerSec::quantum`]) are about 2 ms of the rate, to keep TSO frames and the wait behind
//!   them short.
//!
//! A second tree of the same kind controls request content. There, a grant allows reading from the socket;
//! unread content keeps the receive window closed.
//!
//! Retransmissions are never held back, but charged ([`Flow::charge`]); pure acknowledgements are free.
//!
//! # Several cores
//!
//! A shard owns its `Flow`. With several shards, each would hold a *lease* on every site's rates: a
//! coordinator outside of the data plane reads each shard's `Usage` some ten times a second, divides a site's
//! `rate` and `ceil` among the shards (a small fixed part each, the rest in proportion to the demand shown by
//! queue and last second), and calls [`Flow::configure`] on each with its rates, as for any other change.
//! Changes keep debts and queues, so shares may move at every tick, and the sum of the leases never exceeds
//! the setting if those that shrink are sent first. Connection counts are leased in the same way. The card's
//! hash spreads a client's connections over the shards, so equal shares between clients hold only within a
//! shard, unless its flow director sends each client address to one shard.

mod check;
mod class;
mod directory;
mod floor;
mod heap;
mod list;
mod rate;
mod requests;
mod tournament;
mod tree;

pub use check::{FlowError, FlowErrorKind, FlowSetting, WEIGHT_MAX, check};
pub use floor::SendFloor;
pub use rate::{Bucket, BytesPerSec};

use crate::table::KeyedHash;
use alloc::vec::Vec;
use class::SiteRates;
use core::net::IpAddr;
use directory::{ClientKey, Directory};
use list::NONE;
use model::id::SiteId;
use model::metrics::SiteMetrics;
use model::settings::{Limits, RequestRate, Settings};
use rate::SECOND_NS;
use requests::RequestBucket;
use tree::Tree;

/// HTTP.sys's default of MinSendRate, in bytes per second.
pub const DEFAULT_MIN_SEND_RATE: u64 = 150;

/// Direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the client.
    Down,
    /// From the client: request content.
    Up,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many connections: 503, `ConnLimit`.
    Connections,
    /// Too many requests: 429.
    Requests {
        /// Seconds until one will be admitted, for `Retry-After`; at least 1.
        retry_after_secs: u64,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    connections: u32,
    requests: RequestBucket,
    refused_connections: u64,
    refused_requests: u64,
    too_slow: u64,
}

/// What a connection belongs to: a client of its site, and the same client of the server.
#[derive(Clone, Copy, Debug)]
struct Membership {
    /// `None`: no site yet.
    site: Option<SiteId>,
    client: u32,
    at_server: u32,
    /// The client's address.
    address: Option<IpAddr>,
}

impl Membership {
    const NONE: Self = Self { site: None, client: NONE, at_server: NONE, address: None };
}

/// Bandwidth control and admission of one shard. Connections are identified by small dense indices; times are
/// nanoseconds of the shard's clock.
#[derive(Debug)]
pub struct Flow {
    down: Tree,
    up: Tree,
    limits: Vec<Limits>,
    server_limits: Limits,
    /// Some limit on the rate of requests applies.
    counts_requests: bool,
    counts: Vec<Counts>,
    server_counts: Counts,
    clients: Directory,
    server_clients: Directory,
    members: Vec<Membership>,
}

impl Flow {
    /// Creates bandwidth control for these settings. `key`: secret key of the hash tables.
    pub fn new(settings: &Settings, key: (u64, u64), now_ns: u64) -> Result<Self, FlowError> {
        let sites = settings.sites.len();
        let mut counts = Vec::new();
        counts.resize(sites, Counts::default());
        let mut flow = Self {
            down: Tree::new(sites),
            up: Tree::new(sites),
            limits: Vec::new(),
            server_limits: Limits::default(),
            counts_requests: false,
            counts,
            server_counts: Counts::default(),
            clients: Directory::new(KeyedHash(key.0, key.1)),
            server_clients: Directory::new(KeyedHash(key.1, key.0)),
            members: Vec::new(),
        };
        flow.configure(settings, now_ns)?;
        Ok(flow)
    }

    /// Replaces rates and limits of the same sites: all or, on error, none. Keeps queues and debts, and
    /// connections above a lowered limit. Takes effect with the next decision; [`Flow::next_deadline_ns`] may
    /// change.
    pub fn configure(&mut self, settings: &Settings, now_ns: u64) -> Result<(), FlowError> {
        check(settings)?;
        if settings.sites.len() != self.counts.len() {
            return Err(FlowError { site: None, field: FlowSetting::Sites, kind: FlowErrorKind::Count });
        }
        let rate = |value: Option<u64>| value.and_then(BytesPerSec::new);
        let mut rates: Vec<SiteRates> = Vec::with_capacity(settings.sites.len());
        rates.extend(settings.sites.iter().map(|site| SiteRates {
            rate: rate(site.bandwidth.rate),
            ceil: rate(site.bandwidth.ceil),
            burst: site.bandwidth.burst,
            weight: site.bandwidth.weight,
            client_ceil: rate(site.bandwidth.client_ceil),
        }));
        self.down.set_rates(rate(settings.server.bandwidth.ceil), &rates, now_ns);
        for (site, rates) in settings.sites.iter().zip(&mut rates) {
            let weight = site.bandwidth.weight;
            *rates = SiteRates {
                ceil: rate(site.bandwidth.upload_ceil),
                client_ceil: rate(site.bandwidth.client_upload_ceil),
                weight,
                ..SiteRates::default()
            };
        }
        self.up.set_rates(rate(settings.server.bandwidth.upload_ceil), &rates, now_ns);
        self.server_limits = settings.server.limits;
        let counts = |limits: &Limits| limits.requests.or(limits.client_requests).is_some();
        self.counts_requests =
            counts(&self.server_limits) || settings.sites.iter().any(|site| counts(&site.limits));
        self.limits.clear();
        self.limits.extend(settings.sites.iter().map(|site| site.limits));
        Ok(())
    }

    /// Admits a request for a site on this connection. If admitted, the connection belongs to that site and
    /// client from now on: a proxy may send requests of several clients on one connection.
    #[inline]
    pub fn admit(&mut self, conn: u32, site: SiteId, address: IpAddr, now_ns: u64) -> Result<(), Refused> {
        let mut member = self.members.get(conn as usize).copied().unwrap_or(Membership::NONE);
        if member.address.is_some_and(|old| old != address) {
            self.detach(conn, now_ns);
            member = Membership::NONE;
        }
        if member.site != Some(site) || self.counts_requests {
            self.admit_by_limits(conn, member, site, address, now_ns)?;
        }
        self.down.begin(conn);
        self.up.begin(conn);
        Ok(())
    }

    fn admit_by_limits(
        &mut self,
        conn: u32,
        member: Membership,
        site: SiteId,
        address: IpAddr,
        now_ns: u64,
    ) -> Result<(), Refused> {
        let Some(limits) = self.limits.get(site.index()).copied() else { return Ok(()) };
        let moves = member.site != Some(site);
        if moves && let Err(refused) = self.room_for_connection(member, site, &limits, address) {
            self.counts[site.index()].refused_connections += 1;
            return Err(refused);
        }
        // Not before, so that a refusal has no effect.
        let member = if moves { self.join_site(conn, member, site, address, now_ns) } else { member };
        if let Err(refused) = self.room_for_request(member, site, &limits, now_ns) {
            self.counts[site.index()].refused_requests += 1;
            return Err(refused);
        }
        Ok(())
    }

    /// Removes a connection.
    pub fn detach(&mut self, conn: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(conn as usize) else { return };
        let member = core::mem::replace(member, Membership::NONE);
        self.leave_site(conn, member, now_ns);
        if member.at_server != NONE {
            self.server_clients.leave(member.at_server, now_ns);
            self.server_counts.connections -= 1;
        }
    }

    /// How many of the `wanted` bytes may be moved now. If not all, the connection waits for
    /// [`Flow::pop_ready`], unless it cancels by requesting 0.
    #[inline]
    pub fn request(&mut self, direction: Direction, conn: u32, wanted: usize, now_ns: u64) -> usize {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        self.tree(direction).request(conn, wanted, now_ns) as usize
    }

    /// The next connection whose turn has come, and the bytes granted.
    #[inline]
    pub fn pop_ready(&mut self, now_ns: u64) -> Option<(Direction, u32, usize)> {
        if let Some((conn, bytes)) = self.down.pop(now_ns) {
            return Some((Direction::Down, conn, bytes as usize));
        }
        self.up.pop(now_ns).map(|(conn, bytes)| (Direction::Up, conn, bytes as usize))
    }

    /// When [`Flow::pop_ready`] will next have something, if nothing changes.
    #[inline]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        match (self.down.next_deadline_ns(), self.up.next_deadline_ns()) {
            (Some(down), Some(up)) => Some(down.min(up)),
            (down, up) => down.or(up),
        }
    }

    /// Whether the connection is waiting for a grant.
    pub fn is_waiting(&self, direction: Direction, conn: u32) -> bool {
        match direction {
            Direction::Down => self.down.is_waiting(conn),
            Direction::Up => self.up.is_waiting(conn),
        }
    }

    /// Charges response bytes that were not requested: retransmissions.
    pub fn charge(&mut self, conn: u32, bytes: usize, now_ns: u64) {
        self.down.charge_only(conn, u32::try_from(bytes).unwrap_or(u32::MAX), now_ns);
    }

    /// The minimum rate at which clients of the connection's site must drain responses, in bytes per second;
    /// `None` if there is none.
    pub fn min_send_rate(&self, conn: u32) -> Option<u64> {
        let site = self.members.get(conn as usize).and_then(|member| member.site);
        let own = site.and_then(|site| self.limits.get(site.index())).and_then(|limits| limits.min_send_rate);
        Some(own.or(self.server_limits.min_send_rate).unwrap_or(DEFAULT_MIN_SEND_RATE))
            .filter(|&floor| floor > 0)
    }

    /// Counts a connection that was ended because of [`Flow::min_send_rate`].
    pub fn count_too_slow(&mut self, conn: u32) {
        let site = self.members.get(conn as usize).and_then(|member| member.site);
        if let Some(counts) = site.and_then(|site| self.counts.get_mut(site.index())) {
            counts.too_slow += 1;
        }
    }

    /// Metrics of a site.
    pub fn metrics(&self, site: SiteId, now_ns: u64) -> Option<SiteMetrics> {
        let counts = self.counts.get(site.index())?;
        Some(SiteMetrics {
            down: self.down.usage(site, now_ns)?,
            up: self.up.usage(site, now_ns)?,
            connections: counts.connections,
            refused_connections: counts.refused_connections,
            refused_requests: counts.refused_requests,
            too_slow: counts.too_slow,
        })
    }

    fn tree(&mut self, direction: Direction) -> &mut Tree {
        match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        }
    }

    fn room_for_connection(
        &self,
        member: Membership,
        site: SiteId,
        limits: &Limits,
        address: IpAddr,
    ) -> Result<(), Refused> {
        let over = |limit: Option<u32>, count: u32| limit.is_some_and(|limit| count >= limit);
        let of_client = |directory: &Directory, site| {
            directory.find(&ClientKey::new(site, address)).map_or(0, |id| directory.connections(id))
        };
        let new = member.at_server == NONE;
        if over(limits.connections, self.counts[site.index()].connections)
            || limits.client_connections.is_some_and(|max| of_client(&self.clients, Some(site)) >= max)
            || (new && over(self.server_limits.connections, self.server_counts.connections))
            || (new
                && self
                    .server_limits
                    .client_connections
                    .is_some_and(|max| of_client(&self.server_clients, None) >= max))
        {
            return Err(Refused::Connections);
        }
        Ok(())
    }

    /// Moves a connection to another site.
    fn join_site(
        &mut self,
        conn: u32,
        old: Membership,
        site: SiteId,
        address: IpAddr,
        now_ns: u64,
    ) -> Membership {
        self.leave_site(conn, old, now_ns);
        // Forgets more clients than arrive, so that the number of absent ones decreases.
        for _ in 0..2 {
            if let Some(gone) = self.clients.forget(now_ns) {
                self.down.remove_client(gone);
                self.up.remove_client(gone);
            }
            self.server_clients.forget(now_ns);
        }
        let (client, new) = self.clients.enter(ClientKey::new(Some(site), address));
        if new {
            self.down.add_client(client, site);
            self.up.add_client(client, site);
        }
        self.down.attach(conn, client);
        self.up.attach(conn, client);
        self.counts[site.index()].connections += 1;
        let at_server = if old.at_server == NONE {
            self.server_counts.connections += 1;
            self.server_clients.enter(ClientKey::new(None, address)).0
        } else {
            old.at_server
        };
        if self.members.len() <= conn as usize {
            self.members.resize(conn as usize + 1, Membership::NONE);
        }
        let member = Membership { site: Some(site), client, at_server, address: Some(address) };
        self.members[conn as usize] = member;
        member
    }

    /// Removes a connection from its site.
    fn leave_site(&mut self, conn: u32, member: Membership, now_ns: u64) {
        let Some(site) = member.site else { return };
        self.down.detach(conn, now_ns);
        self.up.detach(conn, now_ns);
        self.clients.leave(member.client, now_ns);
        self.counts[site.index()].connections -= 1;
    }

    fn room_for_request(
        &mut self,
        member: Membership,
        site: SiteId,
        limits: &Limits,
        now_ns: u64,
    ) -> Result<(), Refused> {
        let server = self.server_limits;
        let rates = [server.requests, server.client_requests, limits.requests, limits.client_requests];
        if rates.iter().all(Option::is_none) {
            return Ok(());
        }
        let buckets = [
            Some(&mut self.server_counts.requests),
            self.server_clients.requests(member.at_server),
            Some(&mut self.counts[site.index()].requests),
            self.clients.requests(member.client),
        ];
        let mut both = rates.into_iter().zip(buckets).filter_map(|(rate, bucket)| Some((rate?, bucket?)));
        let mut found: [Option<(RequestRate, &mut RequestBucket)>; 4] = core::array::from_fn(|_| both.next());
        let wait_ns =
            found.iter().flatten().map(|(rate, bucket)| bucket.wait_ns(*rate, now_ns)).max().unwrap_or(0);
        if wait_ns > 0 {
            return Err(Refused::Requests { retry_after_secs: wait_ns.div_ceil(SECOND_NS) });
        }
        found.iter_mut().flatten().for_each(|(rate, bucket)| bucket.take(*rate, now_ns));
        Ok(())
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
