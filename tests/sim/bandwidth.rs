//! Rates, shares and limits of the whole appliance, measured at the clients as bytes received.
//!
//! With `WEIR_BANDWIDTH_REPORT=DIR` the figures and curves are written to that directory for the report.

use crate::network::Quality;
use crate::requests;
use crate::world::{self, World, pattern};
use model::settings::{RequestRate, Settings, SiteBandwidth};
use std::fmt::Write;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const KIB: u64 = 1 << 10;

fn one_site(bandwidth: SiteBandwidth) -> Settings {
    let mut settings = world::settings(&["a"]);
    settings.sites[0].bandwidth = bandwidth;
    settings
}

fn capped(ceil: u64) -> Settings {
    one_site(SiteBandwidth { ceil: Some(ceil), ..SiteBandwidth::default() })
}

fn got(world: &World, clients: &[usize]) -> u64 {
    clients.iter().map(|&number| world.clients[number].got).sum()
}

/// Bytes received by each group so far, sampled now and after every `step` until `end`.
fn sample(world: &mut World, groups: &[&[usize]], step: u64, end: u64) -> Vec<Vec<u64>> {
    let mut sums = vec![groups.iter().map(|group| got(world, group)).collect()];
    while world.now_ns < end {
        world.run_for(step);
        sums.push(groups.iter().map(|group| got(world, group)).collect());
    }
    sums
}

/// Largest relative error of any window of `len` samples, in percent.
fn worst(sums: &[Vec<u64>], group: usize, len: usize, want: f64) -> f64 {
    let errors =
        sums.windows(len + 1).map(|w| ((w[len][group] - w[0][group]) as f64 / want - 1.0).abs() * 100.0);
    errors.fold(0.0, f64::max)
}

/// Writes a figure and a curve (bytes per second, one column per group) for the report.
fn report(name: &str, what: &str, reach: &str, measured: &str, curve: &[(u64, Vec<f64>)]) {
    println!("{what} | {reach} | {measured}");
    let Some(dir) = std::env::var_os("WEIR_BANDWIDTH_REPORT") else { return };
    let dir = std::path::PathBuf::from(dir);
    std::fs::create_dir_all(&dir).expect("report directory");
    std::fs::write(dir.join(format!("{name}.row")), format!("| {what} | {reach} | {measured} |\n"))
        .expect("row");
    let mut text = String::new();
    for (at, rates) in curve {
        let _ = write!(text, "{}", *at as f64 / 1e9);
        for rate in rates {
            let _ = write!(text, ",{rate}");
        }
        text.push('\n');
    }
    std::fs::write(dir.join(format!("{name}.csv")), text).expect("curve");
}

/// Rates between samples.
fn curve(start: u64, step: u64, sums: &[Vec<u64>]) -> Vec<(u64, Vec<f64>)> {
    let rate = |now: &u64, before: &u64| (now - before) as f64 * 1e9 / step as f64;
    let at = |n: usize| start + (n as u64 + 1) * step;
    let pairs = sums.windows(2).enumerate();
    pairs
        .map(|(n, w)| (at(n), w[1].iter().zip(&w[0]).map(|(now, before)| rate(now, before)).collect()))
        .collect()
}

#[test]
fn a_cap_holds_in_every_second() {
    let mut rows = Vec::new();
    for ceil in [16 * KIB, KIB << 10, (8 * KIB) << 10] {
        for connections in [1, 10, 100] {
            let mut world = World::with(&capped(ceil));
            let all: Vec<usize> = (0..connections).map(|_| world.pull("a", "/f/300000", None)).collect();
            world.run_for(SECOND);
            let sums = sample(&mut world, &[&all], SECOND / 8, 6 * SECOND);
            let error = worst(&sums, 0, 8, ceil as f64);
            assert!(error <= 1.0, "{ceil} B/s over {connections}: {error} %");
            rows.push(error);
            if connections == 10 {
                let name = format!("sim-cap-{}k", ceil >> 10);
                let what = format!("one site capped at {} KiB/s, 10 connections", ceil >> 10);
                let curve = curve(SECOND, SECOND / 8, &sums);
                report(&name, &what, "every 1 s window ± 1 %", &format!("± {error:.3} %"), &curve);
            }
        }
    }
    let worst = rows.iter().copied().fold(0.0, f64::max);
    let reach = "every 1 s window after the first ± 1 %";
    report(
        "sim-caps",
        "16 KiB/s, 1 MiB/s, 8 MiB/s × 1, 10, 100 connections",
        reach,
        &format!("± {worst:.3} %"),
        &[],
    );
}

#[test]
fn weights_share_a_full_server() {
    let mut settings = world::settings(&["a", "b"]);
    settings.server.bandwidth.ceil = Some((4 * KIB) << 10);
    settings.sites[1].bandwidth.weight = 3;
    let mut world = World::with(&settings);
    let a: Vec<usize> = (0..8).map(|_| world.pull("a", "/f/300000", None)).collect();
    let b: Vec<usize> = (0..2).map(|_| world.pull("b", "/f/300000", None)).collect();
    world.run_for(SECOND);
    let sums = sample(&mut world, &[&a, &b], SECOND / 4, 6 * SECOND);
    let total = ((4 * KIB) << 10) as f64;
    let error = worst(&sums, 0, 4, total / 4.0).max(worst(&sums, 1, 4, total * 0.75));
    let curve = curve(SECOND, SECOND / 4, &sums);
    report(
        "sim-weights",
        "two sites 1:3 under a full server ceiling",
        "± 2 %",
        &format!("± {error:.2} %"),
        &curve,
    );
    assert!(error <= 2.0, "{error} %");
}

#[test]
fn an_idle_site_gets_its_rate_back() {
    let mut settings = world::settings(&["a", "b"]);
    settings.server.bandwidth.ceil = Some((4 * KIB) << 10);
    settings.sites[0].bandwidth.rate = Some((2 * KIB) << 10);
    settings.sites[1].bandwidth.weight = 1000;
    let mut world = World::with(&settings);
    let b: Vec<usize> = (0..50).map(|_| world.pull("b", "/f/300000", None)).collect();
    world.run_for(2 * SECOND);
    let start = world.now_ns;
    let a = [world.pull("a", "/f/300000", None)];
    let sums = sample(&mut world, &[&a, &b], 20 * MS, start + 2 * SECOND);
    // The time from which every 100 ms carry the guaranteed amount.
    let rate = ((2 * KIB) << 10) as f64 / 10.0;
    let slow = sums.windows(6).rposition(|w| ((w[5][0] - w[0][0]) as f64) < rate * 0.95);
    let back_ms = slow.map_or(0, |n| (n as u64 + 1) * 20);
    let curve = curve(start, 20 * MS, &sums);
    report(
        "sim-return",
        "a site idle, then returning",
        "guarantee within 200 ms",
        &format!("{back_ms} ms"),
        &curve,
    );
    assert!(back_ms <= 200, "{back_ms} ms");
}

#[test]
fn clients_share_equally_whatever_they_open() {
    let mut world = World::with(&capped(KIB << 10));
    let first = world.pull("a", "/f/300000", None);
    let mut groups = vec![vec![first]];
    groups[0].extend((1..50).map(|_| world.pull("a", "/f/300000", Some(first))));
    groups.extend((0..5).map(|_| vec![world.pull("a", "/f/300000", None)]));
    world.run_for(2 * SECOND);
    let groups: Vec<&[usize]> = groups.iter().map(Vec::as_slice).collect();
    let sums = sample(&mut world, &groups, SECOND, 12 * SECOND);
    let shares: Vec<f64> = (0..6).map(|n| (sums[10][n] - sums[0][n]) as f64).collect();
    let (sum, squares) = (shares.iter().sum::<f64>(), shares.iter().map(|s| s * s).sum::<f64>());
    let jain = sum * sum / (6.0 * squares);
    let curve = curve(2 * SECOND, SECOND, &sums);
    let what = "1 client with 50 connections against 5 with 1 each";
    report("sim-jain", what, "Jain index ≥ 0.99", &format!("{jain:.5}"), &curve);
    assert!(jain >= 0.99, "{jain}: {shares:?}");
}

/// Response times of `count` small requests, one every `pause`, sorted.
fn small_requests(world: &mut World, count: usize, pause: u64) -> Vec<u64> {
    let request = || {
        let mut exchange = requests::file(1024);
        exchange.request = b"GET /f/1024 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        exchange
    };
    let client = world.add_client(vec![request()], 65_535, 1);
    world.clients[client].stay = true;
    world.clients[client].whole = true;
    world.run(60 * SECOND).expect("answered");
    let mut times: Vec<u64> = (0..count)
        .map(|n| {
            // Out of step with any other period.
            world.run_for(pause + n as u64 * 12_347);
            let asked = world.now_ns;
            world.ask(client, request());
            world.run(60 * SECOND).expect("answered");
            world.now_ns - asked
        })
        .collect();
    times.sort_unstable();
    times
}

#[test]
fn small_responses_overtake_bulk() {
    for (ceil, pause) in [(KIB << 10, 200 * MS), ((8 * KIB) << 10, 50 * MS)] {
        let mut world = World::with(&capped(ceil));
        let unloaded = small_requests(&mut world, 100, pause)[98];
        let mut world = World::with(&capped(ceil));
        for _ in 0..100 {
            world.pull("a", "/f/300000", None);
        }
        world.run_for(SECOND);
        let times = small_requests(&mut world, 100, pause);
        let loaded = times[98];
        let rate = appliance::flow::BytesPerSec::new(ceil).expect("a rate");
        let bound = (2 * unloaded).max(unloaded + rate.time_ns(rate.quantum().into()));
        let ms = |ns: u64| ns as f64 / 1e6;
        let measured = format!("{:.2} ms, unloaded {:.2} ms", ms(loaded), ms(unloaded));
        let what = format!("p99 of 1 KiB beside 100 bulk downloads at {} KiB/s", ceil >> 10);
        report(
            &format!("sim-small-{}k", ceil >> 10),
            &what,
            &format!("≤ {:.2} ms", ms(bound)),
            &measured,
            &[],
        );
        assert!(loaded <= bound, "{measured}; bound {bound}");
    }
}

#[test]
fn uploads_are_limited_through_the_window() {
    let ceil = KIB << 10;
    let mut world =
        World::with(&one_site(SiteBandwidth { upload_ceil: Some(ceil), ..SiteBandwidth::default() }));
    for _ in 0..3 {
        let content = pattern(2 << 20);
        let mut exchange = requests::echo(&content, false, &mut fastrand::Rng::with_seed(1));
        let text = String::from_utf8_lossy(&exchange.request[..200]).replacen("Host: sim", "Host: a", 1);
        let head = text.find("\r\n\r\n").expect("a head") + 4;
        exchange.request = [&text.as_bytes()[..head], &content].concat();
        world.add_client(vec![exchange], 65_535, 1);
    }
    world.run_for(SECOND);
    let mut sums = vec![vec![world.metrics(0).up.bytes]];
    while world.now_ns < 5 * SECOND {
        world.run_for(SECOND / 8);
        sums.push(vec![world.metrics(0).up.bytes]);
    }
    let error = worst(&sums, 0, 8, ceil as f64);
    let curve = curve(SECOND, SECOND / 8, &sums);
    report("sim-upload", "three uploads limited to 1 MiB/s", "± 2 %", &format!("± {error:.3} %"), &curve);
    assert!(error <= 2.0, "{error} %");
    world.run(60 * SECOND).expect("every upload arrives whole");
}

#[test]
fn a_change_takes_effect_within_100_ms_and_a_bad_one_not_at_all() {
    let mut world = World::with(&capped(64 * KIB));
    let all: Vec<usize> = (0..10).map(|_| world.pull("a", "/f/300000", None)).collect();
    world.run_for(2 * SECOND);
    world.set_bandwidth(&capped((4 * KIB) << 10)).expect("valid");
    let mut sums = sample(&mut world, &[&all], 20 * MS, 3 * SECOND);
    let before = got(&world, &all);
    assert!(world.set_bandwidth(&capped(1000)).is_err());
    sums.extend(sample(&mut world, &[&all], 20 * MS, 4 * SECOND).split_off(1));
    let error = ((got(&world, &all) - before) as f64 / ((4 * KIB) << 10) as f64 - 1.0).abs() * 100.0;
    assert!(error <= 1.0, "a refused change moved the rate by {error} %");
    world.set_bandwidth(&capped(128 * KIB)).expect("valid");
    sums.extend(sample(&mut world, &[&all], 20 * MS, 5 * SECOND).split_off(1));
    let within = |n: usize, want: f64| (sums[n + 5][0] - sums[n][0]) as f64 / want;
    // In the 100 ms that begin 100 ms after the change.
    let (up, down) = (within(5, ((4 * KIB) << 10) as f64 / 10.0), within(105, 12.8 * KIB as f64));
    let measured = format!("{:.1} % and {:.1} % of the new rate", up * 100.0, down * 100.0);
    let curve = curve(2 * SECOND, 20 * MS, &sums);
    report(
        "sim-change",
        "64 KiB/s → 4 MiB/s → 128 KiB/s at run time",
        "new rate after 100 ms",
        &measured,
        &curve,
    );
    assert!((up - 1.0).abs() <= 0.05 && (down - 1.0).abs() <= 0.15, "{measured}");
}

#[test]
fn worker_responses_pass_the_same_gate() {
    let ceil = KIB << 10;
    let mut world = World::with(&capped(ceil));
    let mut all: Vec<usize> = (0..4).map(|_| world.pull("a", "/api/bytes/2000000", None)).collect();
    all.extend((0..4).map(|_| world.pull("a", "/f/300000", None)));
    world.run_for(SECOND);
    let (files, workers) = all.split_at(4);
    let sums = sample(&mut world, &[&all, files, workers], SECOND / 8, 6 * SECOND);
    let error = worst(&sums, 0, 8, ceil as f64);
    let last = sums.len() - 1;
    let share = (sums[last][1] - sums[0][1]) as f64 / (sums[last][0] - sums[0][0]) as f64;
    let measured = format!("± {error:.3} %, workers {:.1} %", share * 100.0);
    report(
        "sim-workers",
        "files and worker responses of one site at 1 MiB/s",
        "± 1 %, half each",
        &measured,
        &[],
    );
    assert!(error <= 1.0 && (share - 0.5).abs() <= 0.02, "{measured}");
}

#[test]
fn what_is_sent_again_is_paid_for() {
    let ceil = KIB << 10;
    let mut world = World::with(&capped(ceil));
    world.network.quality = Quality { loss_permille: 20, ..Quality::LAN };
    let all: Vec<usize> = (0..20).map(|_| world.pull("a", "/f/300000", None)).collect();
    world.run_for(10 * SECOND);
    let metrics = world.metrics(0).down;
    let received = got(&world, &all);
    assert!(metrics.bytes > received, "nothing was charged for losses");
    assert!(metrics.bytes <= ceil * 10 + ceil / 10, "{} bytes in 10 s", metrics.bytes);
    assert!(received >= ceil * 10 * 9 / 10, "{received} bytes received");
}

#[test]
fn limits_on_connections_and_requests() {
    let mut settings = world::settings(&["a", "b"]);
    settings.sites[0].limits.connections = Some(2);
    settings.sites[1].limits.requests = Some(RequestRate { requests: 2, per_secs: 1, burst: 3 });
    let mut world = World::with(&settings);
    let to = |host: &str, status: u16| {
        let mut exchange = requests::file(128);
        exchange.request = format!("GET /f/128 HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        exchange.expected.status = status;
        if status != 200 {
            exchange.expected.content = Some(match status {
                503 => b"503 Service Unavailable\n".to_vec(),
                _ => b"429 Too Many Requests\n".to_vec(),
            });
        }
        exchange
    };
    for status in [200, 200, 503] {
        let client = world.add_client(vec![to("a", status)], 65_535, 1);
        world.clients[client].stay = true;
        world.run(SECOND).expect("answered as expected");
    }
    // The burst of three, then one rejected; half a second later one is allowed again.
    for (status, pause) in [(200, 0), (200, 0), (200, 0), (429, 500), (200, 0)] {
        world.add_client(vec![to("b", status)], 65_535, 1);
        world.run(SECOND).expect("answered as expected");
        world.run_for(pause * MS);
    }
    use model::reason::Reason;
    let counters = world.shard.counters();
    assert_eq!((counters.of(Reason::ConnLimit), counters.of(Reason::RequestRate)), (1, 1));
    assert_eq!((world.metrics(0).refused_connections, world.metrics(1).refused_requests), (1, 1));
    assert_eq!(world.metrics(0).connections, 2);
}

#[test]
fn who_drains_more_slowly_than_the_floor_is_ended_and_who_is_held_back_is_not() {
    let mut settings = world::settings(&["a", "b"]);
    // 64 KiB in the send buffer plus what the client accepts: about 20 s at this minimum rate.
    settings.sites[0].limits.min_send_rate = Some(6000);
    settings.sites[1].bandwidth.ceil = Some(1024);
    settings.sites[1].limits.min_send_rate = Some(6000);
    let mut world = World::with(&settings);
    let deaf = world.pull("a", "/f/300000", None);
    world.clients[deaf].deaf = true;
    let held: Vec<usize> = (0..5).map(|_| world.pull("b", "/f/300000", None)).collect();
    world.run_for(9 * SECOND);
    assert_eq!(world.metrics(0).too_slow, 0);
    world.run_for(20 * SECOND);
    assert_eq!(world.metrics(0).too_slow, 1);
    world.run_for(100 * SECOND);
    // Our own ceiling of 205 B/s each is far below the minimum rate, and nobody was disconnected for it.
    assert_eq!((world.metrics(1).too_slow, world.metrics(1).connections), (0, 5));
    assert!(got(&world, &held) >= 100 * 1024);
}

#[test]
fn the_gate_allocates_nothing() {
    let mut settings = capped(KIB << 10);
    settings.server.bandwidth.ceil = Some((2 * KIB) << 10);
    settings.sites[0].bandwidth.client_ceil = Some(300 * KIB);
    let mut world = World::with(&settings);
    for _ in 0..20 {
        world.pull("a", "/f/4096", None);
    }
    world.run_for(5 * SECOND);
    let before = world.work.allocations;
    world.run_for(5 * SECOND);
    assert_eq!(world.work.allocations - before, 0);
}
