//! Bandwidth: every site gets what it was promised, and nobody gets more by asking twice.
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
//! A connection that has something for its client asks [`Flow::request`] before it moves bytes into its send buffer, and
//! moves as many as it is granted. If those are fewer than it wanted it waits, and [`Flow::pop_ready`] names it when its
//! time has come; [`Flow::next_deadline_ns`] says when that will be, to the nanosecond. Nothing is polled and nothing is
//! kept for later: what is granted was due. Where no ceiling applies a request costs a few comparisons.
//!
//! - **Ceilings** ([`Bucket`]) hold for the server, each site and each client of a site.
//! - **Between sites**: who has not had its guaranteed `rate` goes first, the one that has waited longest of those;
//!   the rest of the server's ceiling goes to those that want it by `weight`. What a site got as its guarantee is not held
//!   against it when the rest is shared.
//! - **Between the clients of a site**: equal shares of bytes, whatever their number of connections.
//! - **Between a client's connections**: in turn.
//! - **Small responses** (two segments at most) go ahead of bulk. A client may be ahead of its share by four of them and
//!   no more, and all of them together get no more than every second byte while bulk waits; so neither can be starved.
//! - **Turns** ([`BytesPerSec::turn`]) are about 2 ms of the rate, so that TSO frames and the wait behind one are short.
//!
//! The same tree exists a second time for content that clients send. There a grant allows to read from the socket; what
//! is not read keeps the receive window closed.
//!
//! What TCP sends again is never held back, but charged ([`Flow::charge`]); acknowledgements carry no bytes that a rate
//! is about and cost nothing.
//!
//! # Several cores
//!
//! A shard owns its `Flow`. With several shards, each holds a *lease* on every site's rates: a coordinator (outside of
//! the data plane, some ten times a second) reads each shard's `Usage` and divides a site's `rate` and `ceil` among the
//! shards: each gets a small fixed part, and the rest in proportion to what its queue and its last second ask for; it then
//! calls [`Flow::configure`] on each with the rates leased to it, as for any other change. A change keeps debts and
//! queues, so shares may move at every tick, and the sum of the leases never exceeds the setting if those that
//! shrink are sent before those that grow. Connection counts are leased in the same way. A client's connections are spread
//! by the card's hash, so equal shares between clients hold inside a shard only, unless its flow director sends each client
//! address to one shard.

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

pub use check::{Field, FlowError, FlowErrorKind, WEIGHT_MAX, check};
pub use floor::SendFloor;
pub use rate::{Bucket, BytesPerSec};

use alloc::vec::Vec;
use class::SiteRates;
use core::net::IpAddr;
use directory::{ClientKey, Directory, KeyedHash};
use list::NONE;
use model::id::SiteId;
use model::metrics::SiteMetrics;
use model::settings::{Limits, RequestRate, Settings};
use rate::SECOND_NS;
use requests::RequestBucket;
use tree::Tree;

/// HTTP.sys's default of MinSendRate, in bytes per second.
pub const DEFAULT_MIN_SEND_RATE: u64 = 150;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the client.
    Down,
    /// From the client: content of requests.
    Up,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many connections: 503, `ConnLimit`.
    Connections,
    /// Too many requests: 429. One will be admitted after so many seconds.
    Requests {
        /// For `Retry-After`; at least 1.
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

/// What a connection belongs to: its client at its site, and at the server.
#[derive(Clone, Copy, Debug)]
struct Membership {
    site: u32,
    client: u32,
    at_server: u32,
    /// The client's.
    address: Option<IpAddr>,
}

impl Membership {
    const NONE: Self = Self { site: NONE, client: NONE, at_server: NONE, address: None };
}

/// Bandwidth and admission of one shard. Connections are named by small dense numbers, times are nanoseconds of the
/// shard's clock.
#[derive(Debug)]
pub struct Flow {
    down: Tree,
    up: Tree,
    limits: Vec<Limits>,
    server_limits: Limits,
    /// Some limit on requests per time applies somewhere.
    counts_requests: bool,
    counts: Vec<Counts>,
    server_counts: Counts,
    clients: Directory,
    server_clients: Directory,
    members: Vec<Membership>,
}

impl Flow {
    /// For these settings; `key` is secret.
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

    /// Takes new rates and limits for the same sites, all or, on error, none. Queues and debts stay; connections above
    /// a lowered limit stay as well. Takes effect with the next decision; [`Flow::next_deadline_ns`] may change.
    pub fn configure(&mut self, settings: &Settings, now_ns: u64) -> Result<(), FlowError> {
        check(settings)?;
        if settings.sites.len() != self.counts.len() {
            return Err(FlowError { site: None, field: Field::Sites, kind: FlowErrorKind::Count });
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
        self.down.retune(rate(settings.server.bandwidth.ceil), &rates, now_ns);
        for (site, rates) in settings.sites.iter().zip(&mut rates) {
            let weight = site.bandwidth.weight;
            *rates = SiteRates {
                ceil: rate(site.bandwidth.upload_ceil),
                client_ceil: rate(site.bandwidth.client_upload_ceil),
                weight,
                ..SiteRates::default()
            };
        }
        self.up.retune(rate(settings.server.bandwidth.upload_ceil), &rates, now_ns);
        self.server_limits = settings.server.limits;
        let counts = |limits: &Limits| limits.requests.or(limits.client_requests).is_some();
        self.counts_requests =
            counts(&self.server_limits) || settings.sites.iter().any(|site| counts(&site.limits));
        self.limits.clear();
        self.limits.extend(settings.sites.iter().map(|site| site.limits));
        Ok(())
    }

    /// A request for a site begins on this connection. If it is admitted, the connection is that site's from now on, and that
    /// client's: a proxy may send requests of several on one connection.
    #[inline]
    pub fn admit(&mut self, conn: u32, site: SiteId, address: IpAddr, now_ns: u64) -> Result<(), Refused> {
        let site = site.index();
        let mut member = self.members.get(conn as usize).copied().unwrap_or(Membership::NONE);
        if member.address.is_some_and(|old| old != address) {
            self.detach(conn, now_ns);
            member = Membership::NONE;
        }
        if member.site != site as u32 || self.counts_requests {
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
        site: usize,
        address: IpAddr,
        now_ns: u64,
    ) -> Result<(), Refused> {
        let Some(limits) = self.limits.get(site).copied() else { return Ok(()) };
        let moves = member.site != site as u32;
        if moves && let Err(refused) = self.room_for_connection(member, site, &limits, address) {
            self.counts[site].refused_connections += 1;
            return Err(refused);
        }
        // Only now, so that a refusal leaves no trace.
        let member = if moves { self.join(conn, member, site, address, now_ns) } else { member };
        if let Err(refused) = self.room_for_request(member, &limits, now_ns) {
            self.counts[site].refused_requests += 1;
            return Err(refused);
        }
        Ok(())
    }

    /// The connection is gone.
    pub fn detach(&mut self, conn: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(conn as usize) else { return };
        let member = core::mem::replace(member, Membership::NONE);
        self.part(conn, member, now_ns);
        if member.at_server != NONE {
            self.server_clients.leave(member.at_server, now_ns);
            self.server_counts.connections -= 1;
        }
    }

    /// How many of the `wanted` bytes may be moved now. If not all, the connection waits for [`Flow::pop_ready`], unless it
    /// takes its wish back by asking for 0.
    #[inline]
    pub fn request(&mut self, direction: Direction, conn: u32, wanted: usize, now_ns: u64) -> usize {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        self.tree(direction).request(conn, wanted, now_ns) as usize
    }

    /// The next connection whose turn has come, and what it is granted.
    #[inline]
    pub fn pop_ready(&mut self, now_ns: u64) -> Option<(Direction, u32, usize)> {
        if let Some((conn, bytes)) = self.down.pop(now_ns) {
            return Some((Direction::Down, conn, bytes as usize));
        }
        self.up.pop(now_ns).map(|(conn, bytes)| (Direction::Up, conn, bytes as usize))
    }

    /// When [`Flow::pop_ready`] has something next, if nothing changes before.
    #[inline]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        match (self.down.next_deadline_ns(), self.up.next_deadline_ns()) {
            (Some(down), Some(up)) => Some(down.min(up)),
            (down, up) => down.or(up),
        }
    }

    /// Whether the connection waits for its turn.
    pub fn is_waiting(&self, direction: Direction, conn: u32) -> bool {
        match direction {
            Direction::Down => self.down.is_waiting(conn),
            Direction::Up => self.up.is_waiting(conn),
        }
    }

    /// Charges response bytes that nobody asked for: retransmissions.
    pub fn charge(&mut self, conn: u32, bytes: usize, now_ns: u64) {
        self.down.charge_only(conn, u32::try_from(bytes).unwrap_or(u32::MAX), now_ns);
    }

    /// The floor below which a client of the connection's site may not drain its responses, in bytes per second; `None`
    /// if there is none.
    pub fn min_send_rate(&self, conn: u32) -> Option<u64> {
        let site = self.members.get(conn as usize).map_or(NONE, |member| member.site);
        let own = self.limits.get(site as usize).and_then(|limits| limits.min_send_rate);
        Some(own.or(self.server_limits.min_send_rate).unwrap_or(DEFAULT_MIN_SEND_RATE))
            .filter(|&floor| floor > 0)
    }

    /// Counts a connection that was ended because of [`Flow::min_send_rate`].
    pub fn count_too_slow(&mut self, conn: u32) {
        let site = self.members.get(conn as usize).map_or(NONE, |member| member.site);
        if let Some(counts) = self.counts.get_mut(site as usize) {
            counts.too_slow += 1;
        }
    }

    /// What a site has done, waits for and was refused.
    pub fn metrics(&self, site: SiteId, now_ns: u64) -> Option<SiteMetrics> {
        let site = site.index();
        let counts = self.counts.get(site)?;
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
        site: usize,
        limits: &Limits,
        address: IpAddr,
    ) -> Result<(), Refused> {
        let over = |limit: Option<u32>, count: u32| limit.is_some_and(|limit| count >= limit);
        let of_client = |directory: &Directory, site| {
            directory.find(&ClientKey::new(site, address)).map_or(0, |id| directory.connections(id))
        };
        let new = member.at_server == NONE;
        if over(limits.connections, self.counts[site].connections)
            || limits.client_connections.is_some_and(|max| of_client(&self.clients, site as u32) >= max)
            || (new && over(self.server_limits.connections, self.server_counts.connections))
            || (new
                && self
                    .server_limits
                    .client_connections
                    .is_some_and(|max| of_client(&self.server_clients, NONE) >= max))
        {
            return Err(Refused::Connections);
        }
        Ok(())
    }

    /// Moves a connection to another site.
    fn join(&mut self, conn: u32, old: Membership, site: usize, address: IpAddr, now_ns: u64) -> Membership {
        self.part(conn, old, now_ns);
        // One more than comes, so that those that have gone are forgotten at last.
        for _ in 0..2 {
            if let Some(gone) = self.clients.forget(now_ns) {
                self.down.remove_client(gone);
                self.up.remove_client(gone);
            }
            self.server_clients.forget(now_ns);
        }
        let (client, new) = self.clients.enter(ClientKey::new(site as u32, address));
        if new {
            self.down.add_client(client, site as u32);
            self.up.add_client(client, site as u32);
        }
        self.down.attach(conn, client);
        self.up.attach(conn, client);
        self.counts[site].connections += 1;
        let at_server = if old.at_server == NONE {
            self.server_counts.connections += 1;
            self.server_clients.enter(ClientKey::new(NONE, address)).0
        } else {
            old.at_server
        };
        if self.members.len() <= conn as usize {
            self.members.resize(conn as usize + 1, Membership::NONE);
        }
        let member = Membership { site: site as u32, client, at_server, address: Some(address) };
        self.members[conn as usize] = member;
        member
    }

    /// Takes a connection away from its site.
    fn part(&mut self, conn: u32, member: Membership, now_ns: u64) {
        if member.site == NONE {
            return;
        }
        self.down.detach(conn, now_ns);
        self.up.detach(conn, now_ns);
        self.clients.leave(member.client, now_ns);
        self.counts[member.site as usize].connections -= 1;
    }

    fn room_for_request(&mut self, member: Membership, limits: &Limits, now_ns: u64) -> Result<(), Refused> {
        let server = self.server_limits;
        let rates = [server.requests, server.client_requests, limits.requests, limits.client_requests];
        if rates.iter().all(Option::is_none) {
            return Ok(());
        }
        let buckets = [
            Some(&mut self.server_counts.requests),
            self.server_clients.requests(member.at_server),
            Some(&mut self.counts[member.site as usize].requests),
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
