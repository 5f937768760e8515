//! The scheduler alone in virtual time: connections that want more always or sometimes, and a link that takes
//! all that is granted.

use super::*;
use core::net::Ipv4Addr;
use model::id::SiteId;
use model::settings::{ServerBandwidth, Site, SiteBandwidth};
use proptest::prelude::*;
use std::vec;

const SECOND: u64 = SECOND_NS;
const MS: u64 = 1_000_000;

fn address(client: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + client))
}

fn site(bandwidth: SiteBandwidth) -> Site {
    Site { bandwidth, ..Site::default() }
}

fn capped(ceil: u64) -> Site {
    site(SiteBandwidth { ceil: Some(ceil), ..SiteBandwidth::default() })
}

fn settings(server: Option<u64>, sites: Vec<Site>) -> Settings {
    let mut settings = Settings { sites, ..Settings::default() };
    settings.server.bandwidth = ServerBandwidth { ceil: server, upload_ceil: None };
    settings
}

/// Bulk connections that always want 64 KiB, and the bytes they got.
struct Model {
    flow: Flow,
    now: u64,
    /// By connection.
    got: Vec<u64>,
    wants: Vec<bool>,
}

impl Model {
    fn new(settings: &Settings) -> Self {
        Self { flow: Flow::new(settings, (1, 2), 0).unwrap(), now: 0, got: vec![], wants: vec![] }
    }

    fn bulk(&mut self, site: usize, client: u32) -> usize {
        let conn = self.got.len();
        self.flow.admit(conn as u32, SiteId(site as u16), address(client), self.now).unwrap();
        self.got.push(0);
        self.wants.push(true);
        self.ask(conn, 64 << 10);
        conn
    }

    fn ask(&mut self, conn: usize, wanted: usize) {
        let mut granted = self.flow.request(Direction::Down, conn as u32, wanted, self.now);
        while granted > 0 {
            self.got[conn] += granted as u64;
            granted = self.flow.request(Direction::Down, conn as u32, wanted, self.now);
        }
    }

    fn ask_once(&mut self, conn: usize, wanted: usize) {
        let granted = self.flow.request(Direction::Down, conn as u32, wanted, self.now);
        self.got[conn] += granted as u64;
    }

    fn stop(&mut self, conn: usize) {
        self.wants[conn] = false;
        self.flow.request(Direction::Down, conn as u32, 0, self.now);
    }

    fn start(&mut self, conn: usize) {
        self.wants[conn] = true;
        self.ask(conn, 64 << 10);
    }

    /// Takes the grants that are due.
    fn turn(&mut self) {
        while let Some((direction, conn, bytes)) = self.flow.pop_ready(self.now) {
            assert_eq!(direction, Direction::Down);
            assert!(bytes > 0 && bytes <= 64 << 10);
            self.got[conn as usize] += bytes as u64;
            if self.wants[conn as usize] {
                self.ask(conn as usize, 64 << 10);
            }
        }
    }

    fn run(&mut self, until: u64) {
        while let Some(at) = self.flow.next_deadline_ns().filter(|&at| at < until) {
            assert!(at >= self.now || self.now == 0 || at == 0, "{at} after {}", self.now);
            self.now = self.now.max(at);
            self.turn();
        }
        self.now = until;
    }

    fn sum(&self, conns: &[usize]) -> u64 {
        conns.iter().map(|&conn| self.got[conn]).sum()
    }
}

fn within(got: u64, want: u64, permille: u64) {
    assert!(got.abs_diff(want) * 1000 <= want * permille, "{got}, not {want} ± {permille} ‰");
}

#[test]
fn a_ceiling_holds_in_every_second_after_the_first() {
    for ceil in [16 << 10, 512 << 10, 1 << 20, 8 << 20] {
        for conns in [1, 10, 100] {
            let mut model = Model::new(&settings(None, vec![capped(ceil)]));
            let all: Vec<usize> = (0..conns).map(|n| model.bulk(0, n)).collect();
            let (seconds, step) = (6, SECOND / 8);
            model.run(SECOND);
            let mut sums = vec![model.sum(&all)];
            for n in 1..=(seconds - 1) * SECOND / step {
                model.run(SECOND + n * step);
                sums.push(model.sum(&all));
            }
            let window = (SECOND / step) as usize;
            sums.windows(window + 1).for_each(|w| within(w[window] - w[0], ceil, 10));
        }
    }
}

#[test]
fn weights_share_the_servers_ceiling() {
    let weighted = |weight| site(SiteBandwidth { weight, ..SiteBandwidth::default() });
    for (a, b) in [(1, 3), (1, 1), (7, 9999)] {
        let mut model = Model::new(&settings(Some(10_000_000), vec![weighted(a), weighted(b)]));
        // The light site gains nothing from having more connections.
        let first: Vec<usize> = (0..20).map(|n| model.bulk(0, n)).collect();
        let second = [model.bulk(1, 1)];
        model.run(60 * SECOND);
        let total = u64::from(a + b);
        within(model.sum(&first), 600_000_000 * u64::from(a) / total, 20);
        within(model.sum(&second), 600_000_000 * u64::from(b) / total, 20);
    }
}

#[test]
fn unused_bandwidth_is_shared() {
    let a = site(SiteBandwidth { ceil: Some(1_000_000), ..SiteBandwidth::default() });
    let b = site(SiteBandwidth { weight: 2, ..SiteBandwidth::default() });
    let c = site(SiteBandwidth { weight: 6, ..SiteBandwidth::default() });
    let mut model = Model::new(&settings(Some(9_000_000), vec![a, b, c]));
    let conns = [model.bulk(0, 1), model.bulk(1, 1), model.bulk(2, 1)];
    model.run(10 * SECOND);
    // 1/9 is a's share and also its ceiling; the rest is shared 2:6.
    [10, 20, 60].iter().zip(conns).for_each(|(mb, conn)| within(model.got[conn], mb * 1_000_000, 20));
    model.stop(conns[2]);
    let before = model.got[conns[1]];
    model.run(20 * SECOND);
    within(model.got[conns[1]] - before, 80_000_000, 20);
}

#[test]
fn a_guarantee_comes_back_at_once() {
    let a = site(SiteBandwidth { rate: Some(4_000_000), ..SiteBandwidth::default() });
    let b = site(SiteBandwidth { weight: 100, ..SiteBandwidth::default() });
    let mut model = Model::new(&settings(Some(10_000_000), vec![a, b]));
    let (idle, busy) = (model.bulk(0, 1), model.bulk(1, 1));
    model.stop(idle);
    model.run(10 * SECOND);
    within(model.got[busy], 100_000_000, 20);
    let before = model.got[idle];
    model.start(idle);
    model.run(10 * SECOND + 200 * MS);
    assert!(model.got[idle] - before >= 800_000, "{} in 200 ms", model.got[idle] - before);
    let (before, at) = ((model.got[idle], model.got[busy]), model.now);
    model.run(at + 10 * SECOND);
    // 4 are guaranteed; of the other 6, one part in 101.
    within(model.got[idle] - before.0, 40_000_000 + 60_000_000 / 101, 20);
    within(model.got[busy] - before.1, 60_000_000 * 100 / 101, 20);
}

#[test]
fn opening_more_connections_gains_nothing() {
    let mut model = Model::new(&settings(None, vec![capped(1 << 20)]));
    let greedy: Vec<usize> = (0..50).map(|_| model.bulk(0, 0)).collect();
    let modest: Vec<usize> = (1..6).map(|n| model.bulk(0, n)).collect();
    model.run(20 * SECOND);
    let mut shares: Vec<u64> = modest.iter().map(|&conn| model.got[conn]).collect();
    shares.push(model.sum(&greedy));
    shares.iter().for_each(|&share| within(share, (20 << 20) / 6, 10));
    // The greedy client's connections share in turn.
    greedy.iter().for_each(|&conn| assert!(model.got[conn].abs_diff(model.got[greedy[0]]) <= 2 * 2097));
}

#[test]
fn small_responses_overtake_bulk_but_cannot_starve_it() {
    for ceil in [16 << 10, 1 << 20, 8 << 20] {
        let mut model = Model::new(&settings(None, vec![capped(ceil)]));
        let bulk: Vec<usize> = (0..100).map(|n| model.bulk(0, n)).collect();
        model.run(SECOND);
        let conn = model.got.len();
        model.got.push(0);
        model.wants.push(false);
        let quantum_ns =
            BytesPerSec::new(ceil).unwrap().time_ns(u64::from(BytesPerSec::new(ceil).unwrap().quantum()));
        for n in 0..20 {
            // Well within its fair share, like a client that only views pages.
            model.run(SECOND + n * (1300 * 150 * SECOND / ceil) + n * 777);
            let asked = model.now;
            model.flow.admit(conn as u32, SiteId(0), address(1000), model.now).unwrap();
            model.ask(conn, 1300);
            while model.got[conn] < (n + 1) * 1300 {
                let at = model.flow.next_deadline_ns().unwrap();
                model.now = model.now.max(at);
                model.turn();
            }
            assert!(
                model.now - asked <= quantum_ns + 1,
                "{} ns, a quantum is {quantum_ns}",
                model.now - asked
            );
        }
        // Many clients with small responses only: bulk still gets half.
        let (before, start) = (model.sum(&bulk), model.now);
        let small: Vec<usize> = (0..200).map(|n| 101 + n).collect();
        model.got.resize(301, 0);
        model.wants.resize(301, false);
        while model.now < start + 10 * SECOND {
            for (n, &conn) in small.iter().enumerate() {
                if !model.flow.is_waiting(Direction::Down, conn as u32) {
                    model.flow.admit(conn as u32, SiteId(0), address(2000 + n as u32), model.now).unwrap();
                    model.ask_once(conn, 1300);
                }
            }
            let at = model.flow.next_deadline_ns().unwrap();
            model.now = model.now.max(at);
            model.turn();
        }
        let share = (model.sum(&bulk) - before) as f64 / ((model.now - start) as f64 / 1e9 * ceil as f64);
        // 100 of 300 clients: their fair share is a third, and small responses may delay bulk by at most
        // half.
        assert!(share >= 0.3, "{share}");
    }
}

#[test]
fn a_clients_own_ceiling() {
    let bandwidth =
        SiteBandwidth { ceil: Some(1_000_000), client_ceil: Some(100_000), ..SiteBandwidth::default() };
    let mut model = Model::new(&settings(None, vec![site(bandwidth)]));
    let a: Vec<usize> = (0..5).map(|_| model.bulk(0, 0)).collect();
    let b = [model.bulk(0, 1)];
    model.run(10 * SECOND);
    within(model.sum(&a), 1_000_000, 20);
    within(model.sum(&b), 1_000_000, 20);
    // Reconnecting does not cancel the debt.
    a.iter().chain(&b).for_each(|&conn| model.flow.detach(conn as u32, model.now));
    let again = model.bulk(0, 0);
    model.run(11 * SECOND);
    within(model.got[again], 100_000, 70);
}

#[test]
fn changes_take_effect_at_once_or_not_at_all() {
    let mut model = Model::new(&settings(None, vec![capped(1024)]));
    let all: Vec<usize> = (0..10).map(|n| model.bulk(0, n)).collect();
    model.run(5 * SECOND);
    model.flow.configure(&settings(None, vec![capped(8 << 20)]), model.now).unwrap();
    let before = model.sum(&all);
    model.run(5 * SECOND + 100 * MS);
    // Within one quantum.
    within(model.sum(&all) - before, (8 << 20) / 10, 25);
    for bad in [
        settings(None, vec![capped(1023)]),
        settings(None, vec![]),
        settings(Some(2000), vec![site(SiteBandwidth { rate: Some(2001), ..SiteBandwidth::default() })]),
        settings(None, vec![site(SiteBandwidth { weight: 0, ..SiteBandwidth::default() })]),
        settings(None, vec![site(SiteBandwidth { burst: Some(0), ..SiteBandwidth::default() })]),
    ] {
        let usage = model.flow.metrics(SiteId(0), model.now);
        assert!(model.flow.configure(&bad, model.now).is_err());
        assert_eq!(model.flow.metrics(SiteId(0), model.now), usage);
    }
    let (before, now) = (model.sum(&all), model.now);
    model.run(now + SECOND);
    within(model.sum(&all) - before, 8 << 20, 10);
    // Without any limit, the queue drains, and later requests need not wait.
    model.flow.configure(&settings(None, vec![Site::default()]), model.now).unwrap();
    model.wants.fill(false);
    model.turn();
    assert_eq!(model.flow.metrics(SiteId(0), model.now).unwrap().down.queued, 0);
    assert_eq!(model.flow.request(Direction::Down, 3, 1 << 30, model.now), 1 << 30);
    assert_eq!(model.flow.next_deadline_ns(), None);
}

#[test]
fn connection_limits_and_request_rates() {
    let limits = Limits {
        connections: Some(3),
        client_connections: Some(2),
        requests: Some(RequestRate { requests: 1, per_secs: 2, burst: 4 }),
        ..Limits::default()
    };
    let mut settings = settings(None, vec![Site { limits, ..Site::default() }, Site::default()]);
    settings.server.limits.client_connections = Some(3);
    let mut flow = Flow::new(&settings, (1, 2), 0).unwrap();
    flow.admit(0, SiteId(0), address(1), 0).unwrap();
    flow.admit(1, SiteId(0), address(1), 0).unwrap();
    assert_eq!(flow.admit(2, SiteId(0), address(1), 0), Err(Refused::Connections));
    flow.admit(2, SiteId(0), address(2), 0).unwrap();
    assert_eq!(flow.admit(3, SiteId(0), address(3), 0), Err(Refused::Connections));
    // The same connection again; then the burst of four is used up.
    flow.admit(0, SiteId(0), address(1), 0).unwrap();
    assert_eq!(flow.admit(0, SiteId(0), address(1), 0), Err(Refused::Requests { retry_after_secs: 2 }));
    assert_eq!(
        flow.admit(0, SiteId(0), address(1), 1500 * MS),
        Err(Refused::Requests { retry_after_secs: 1 })
    );
    flow.admit(0, SiteId(0), address(1), 2000 * MS).unwrap();
    // A connection that moved or closed makes room.
    flow.admit(0, SiteId(1), address(1), 2000 * MS).unwrap();
    flow.detach(1, 2000 * MS);
    flow.admit(4, SiteId(0), address(4), 4000 * MS).unwrap();
    flow.admit(5, SiteId(1), address(1), 4000 * MS).unwrap();
    flow.admit(6, SiteId(1), address(1), 4000 * MS).unwrap();
    assert_eq!(flow.admit(7, SiteId(1), address(1), 4000 * MS), Err(Refused::Connections));
    let metrics = flow.metrics(SiteId(0), 0).unwrap();
    assert_eq!((metrics.connections, metrics.refused_connections, metrics.refused_requests), (2, 2, 2));
    // A detached connection is harmless.
    flow.detach(7, 0);
    flow.detach(700, 0);
    assert_eq!(flow.request(Direction::Up, 700, 5, 0), 5);
}

fn any_site() -> impl Strategy<Value = Site> {
    let rate = || proptest::option::of(1024..20_000_000_u64);
    (rate(), rate(), proptest::option::of(1..1_000_000_u64), 1..=WEIGHT_MAX).prop_map(
        |(ceil, client_ceil, burst, weight)| {
            site(SiteBandwidth { ceil, client_ceil, burst, weight, ..SiteBandwidth::default() })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any order of operations: no ceiling is exceeded, nothing unwanted is granted, every waiting
    /// connection is served eventually, and the queue counts end at zero.
    #[test]
    fn any_order_of_operations_keeps_the_limits(
        server in proptest::option::of(100_000..50_000_000_u64),
        sites in proptest::collection::vec(any_site(), 1..4),
        steps in proptest::collection::vec((0..12_u32, 0..6_u8, 0..100_000_u32, 0..20_000_000_u64), 1..300),
    ) {
        let settings = settings(server, sites);
        let count = settings.sites.len();
        let mut flow = Flow::new(&settings, (3, 4), 0).unwrap();
        let (mut now, mut granted, mut wanted) = (SECOND, vec![0_u64; count], vec![0_u64; 12]);
        let mut home = [None; 12];
        let mut clients = [0; 12];
        for (conn, action, size, pause) in steps {
            now += pause;
            let c = conn as usize;
            match action {
                0 => {
                    flow.detach(conn, now);
                    (home[c], wanted[c]) = (None, 0);
                }
                1 => {
                    let site = size as usize % count;
                    // The connection belongs to another site or client from now on.
                    if home[c] != Some(site) || clients[c] != size % 5 {
                        wanted[c] = 0;
                    }
                    flow.admit(conn, SiteId(site as u16), address(size % 5), now).unwrap();
                    (home[c], clients[c]) = (Some(site), size % 5);
                }
                2 => {
                    flow.charge(conn, size as usize % 3000, now);
                }
                _ => {
                    let got = flow.request(Direction::Down, conn, size as usize, now) as u64;
                    prop_assert!(got <= u64::from(size));
                    if let Some(site) = home[c] {
                        granted[site] += got;
                        wanted[c] = u64::from(size) - got;
                    }
                }
            }
            while let Some((_, conn, bytes)) = flow.pop_ready(now) {
                let c = conn as usize;
                prop_assert!(bytes as u64 <= wanted[c] && bytes > 0, "{bytes} of {}", wanted[c]);
                wanted[c] -= bytes as u64;
                granted[home[c].unwrap()] += bytes as u64;
            }
            for (index, site) in settings.sites.iter().enumerate() {
                let turn = 64 << 10;
                if let Some(ceil) = site.bandwidth.ceil {
                    let burst = site.bandwidth.burst.unwrap_or(ceil / 20);
                    let most = burst + turn + ceil * (now - SECOND) / SECOND + ceil / 1000 + 1;
                    prop_assert!(granted[index] <= most, "{} > {most}", granted[index]);
                }
            }
        }
        let mut idle = 0;
        while let Some(at) = flow.next_deadline_ns() {
            now = now.max(at);
            idle += 1;
            while let Some((_, conn, bytes)) = flow.pop_ready(now) {
                wanted[conn as usize] -= bytes as u64;
                idle = 0;
            }
            prop_assert!(idle < 5, "woken for nothing");
        }
        prop_assert!(wanted.iter().all(|&left| left == 0), "{wanted:?}");
        for site in 0..count {
            let usage = flow.metrics(SiteId(site as u16), now).unwrap().down;
            prop_assert_eq!((usage.queued, usage.queued_bytes), (0, 0));
        }
    }
}
