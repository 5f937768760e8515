//! Output of `weir ctl`: text for people, and Prometheus' format.

use super::Everything;
use model::control::message::TlsInfo;
use model::metrics::Usage;
use model::tls::TlsCounters;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Names of a pool's states, numbered from 1 as in WAS.
const STATES: [&str; 7] = [
    "Uninitialized",
    "Initialized",
    "Running",
    "Disabling",
    "Disabled",
    "Shutdown Pending",
    "Delete Pending",
];

pub(super) fn status(all: &Everything) -> String {
    let mut out = String::new();
    let _ = write_status(&mut out, all);
    out
}

fn write_status(out: &mut String, all: &Everything) -> std::fmt::Result {
    let status = &all.status;
    writeln!(
        out,
        "up {:.1} s, {} connections, {} links ({} in use), {} bytes buffered",
        status.uptime_ms as f64 / 1e3,
        status.connections,
        status.links,
        status.links_in_use,
        status.held_bytes
    )?;
    for pool in &all.pools {
        let state = STATES.get(usize::from(pool.state).wrapping_sub(1)).unwrap_or(&"unknown");
        writeln!(out, "pool {}: {state}, {} waiting, {} in progress", pool.name, pool.waiting, pool.in_hand)?;
        if let Some(out_of_service) = &pool.out {
            writeln!(out, "  out of service: {}", out_of_service.what)?;
        }
        for worker in &pool.workers {
            let health = match (worker.leaving, worker.down, worker.healthy) {
                (true, ..) => "leaving",
                (_, true, _) => "down",
                (_, _, true) => "healthy",
                _ => "failing",
            };
            let note = match worker.note.as_str() {
                "" => String::new(),
                note => format!("; {note}"),
            };
            writeln!(
                out,
                "  worker {}:{}: {health}, {} in progress, {} served, idle for {:.1} s{note}",
                worker.address.cid,
                worker.address.port,
                worker.in_hand,
                worker.served,
                f64::from(u32::try_from(worker.unused_ms).unwrap_or(u32::MAX)) / 1e3
            )?;
        }
    }
    for site in &all.sites {
        let way = |usage: &Usage| {
            let queue = format!("{} B/s now, {} queued", usage.rate, usage.queued);
            match usage.tokens {
                Some(tokens) => format!("{queue}, {tokens} tokens"),
                None => queue,
            }
        };
        writeln!(
            out,
            "site {}: {} connections; down {}; up {}",
            site.name,
            site.metrics.connections,
            way(&site.metrics.down),
            way(&site.metrics.up)
        )?;
        for end in &site.certificates_end {
            let date = model::date::format(*end);
            let left = (*end as i64 - now_s() as i64) / 86_400;
            writeln!(out, "  certificate until {}, {left} days left", String::from_utf8_lossy(&date))?;
        }
    }
    if let Some(tls) = &status.tls {
        let c = &tls.counters;
        match tls.without {
            Some(error) => writeln!(out, "https is not served: {error}")?,
            None => writeln!(
                out,
                "TLS: {} handshakes ({} resumed), {} in progress, {} failed",
                c.handshakes,
                c.resumed,
                tls.handshaking,
                failures(c).iter().map(|(_, count)| count).sum::<u64>()
            )?,
        }
    }
    let sources: Vec<_> = status.entropy.sources.iter().map(source).collect();
    writeln!(out, "random numbers: {} ({} seeds)", sources.join(", "), status.entropy.seeds)?;
    if let Some(logs) = &all.logs {
        for (log, why) in &logs.failing {
            writeln!(out, "log {log} cannot be written: {why}")?;
        }
        if logs.write_errors > 0 {
            let (errors, lines) = (logs.write_errors, logs.lines_given_up);
            writeln!(out, "logs: {errors} attempts to write failed, {lines} lines lost")?;
        }
    }
    for (reason, count) in &status.reasons {
        writeln!(out, "refused {reason}: {count}")?;
    }
    Ok(())
}

/// Failed handshakes by reason.
fn failures(counters: &TlsCounters) -> [(&'static str, u64); 7] {
    [
        ("handshake", counters.failed),
        ("garbage", counters.garbage - counters.plain_http.min(counters.garbage)),
        ("plain_http", counters.plain_http),
        ("oversized", counters.oversized),
        ("unknown_name", counters.unknown_name),
        ("timed_out", counters.timed_out),
        ("evicted", counters.evicted),
    ]
}

fn source((name, good): &(String, bool)) -> String {
    if *good { name.clone() } else { format!("{name} FAILED") }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn metrics(all: &Everything) -> String {
    let mut out = Metrics::default();
    let status = &all.status;
    out.family("weir_uptime_seconds", "gauge", "Time since the appliance's start.");
    out.sample(&[], format!("{:.3}", status.uptime_ms as f64 / 1e3));
    for (name, help, value) in [
        ("weir_connections", "Client connections.", status.connections),
        ("weir_links", "Links to workers.", status.links),
        ("weir_links_in_use", "Links to workers in use by a request.", status.links_in_use),
        (
            "weir_held_bytes",
            "Bytes of heads and content buffered for requests in progress.",
            status.held_bytes,
        ),
    ] {
        out.family(name, "gauge", help);
        out.sample(&[], value);
    }
    for (name, value) in &status.counters {
        out.family(&format!("weir_{name}_total"), "counter", "Count since the appliance's start.");
        out.sample(&[], value);
    }
    out.family(
        "weir_refused_total",
        "counter",
        "Rejected requests and aborted connections, by HTTPERR reason phrase.",
    );
    for (reason, value) in &status.reasons {
        out.sample(&[("reason", reason)], value);
    }
    for (name, help, value) in [
        ("weir_pool_state", "State, as a number of APP_POOL_WAS.", 0),
        ("weir_pool_waiting", "Requests in the queue.", 1),
        ("weir_pool_in_hand", "Requests in progress at workers.", 2),
        ("weir_pool_workers", "Workers, except those being stopped.", 3),
    ] {
        out.family(name, "gauge", help);
        for pool in &all.pools {
            let workers = pool.workers.iter().filter(|w| !w.leaving).count() as u32;
            let values = [pool.state.into(), pool.waiting, pool.in_hand, workers];
            out.sample(&[("pool", &pool.name)], values[value]);
        }
    }
    out.family("weir_worker_served_total", "counter", "Requests served by a worker.");
    for pool in &all.pools {
        for worker in &pool.workers {
            let address = format!("{}:{}", worker.address.cid, worker.address.port);
            out.sample(&[("pool", &pool.name), ("worker", &address)], worker.served);
        }
    }
    bandwidth(&mut out, all);
    logs(&mut out, all);
    tls(&mut out, all);
    out.text
}

fn logs(out: &mut Metrics, all: &Everything) {
    let Some(logs) = &all.logs else { return };
    for (name, kind, help, value) in [
        ("weir_logs_failing", "gauge", "Logs that cannot be written now.", logs.failing.len() as u64),
        ("weir_log_write_errors_total", "counter", "Attempts to write logs that failed.", logs.write_errors),
        (
            "weir_log_lines_given_up_total",
            "counter",
            "Log lines lost because their stream ended while they could not be written.",
            logs.lines_given_up,
        ),
    ] {
        out.family(name, kind, help);
        out.sample(&[], value);
    }
}

fn tls(out: &mut Metrics, all: &Everything) {
    if let Some(TlsInfo { handshaking, counters, without }) = all.status.tls.as_deref() {
        out.family("weir_tls_served", "gauge", "1 if the https ports are open.");
        out.sample(&[], u8::from(without.is_none()));
        out.family("weir_tls_handshakes_in_progress", "gauge", "TLS handshakes in progress.");
        out.sample(&[], handshaking);
        out.family("weir_tls_handshakes_total", "counter", "TLS handshakes completed, by kind.");
        for (kind, value) in [("full", counters.handshakes - counters.resumed), ("resumed", counters.resumed)]
        {
            out.sample(&[("kind", kind)], value);
        }
        out.family("weir_tls_handshakes_failed_total", "counter", "Failed TLS handshakes, by reason.");
        for (reason, value) in failures(counters) {
            out.sample(&[("reason", reason)], value);
        }
        for (name, help, value) in [
            ("weir_tls_1_2_total", "Handshakes completed with TLS 1.2.", counters.tls12),
            ("weir_tls_refused_total", "Connections refused for lack of memory for TLS.", counters.refused),
            ("weir_tls_broken_total", "Established connections that violated the protocol.", counters.broken),
            ("weir_tls_misdirected_total", "Requests for another site's host: 421.", counters.misdirected),
            (
                "weir_tls_client_certificates_refused_total",
                "Requests answered 403 because of the client's certificate.",
                counters.client_certificates_refused,
            ),
        ] {
            out.family(name, "counter", help);
            out.sample(&[], value);
        }
    }
    out.family(
        "weir_site_certificate_not_after_seconds",
        "gauge",
        "Expiry of a certificate, in seconds since 1970-01-01 UTC.",
    );
    for site in &all.sites {
        for (number, end) in site.certificates_end.iter().enumerate() {
            out.sample(&[("site", &site.name), ("certificate", &number.to_string())], end);
        }
    }
    let entropy = &all.status.entropy;
    out.family("weir_entropy_seeded", "gauge", "1 if the generator was seeded from a real source.");
    out.sample(&[], u8::from(entropy.seeded));
    out.family("weir_entropy_source_healthy", "gauge", "1 while a source passes its health tests.");
    for (source, good) in &entropy.sources {
        out.sample(&[("source", source)], u8::from(*good));
    }
    out.family("weir_entropy_seeds_total", "counter", "Seeds mixed in.");
    out.sample(&[], entropy.seeds);
    out.family("weir_entropy_bytes_total", "counter", "Random bytes generated.");
    out.sample(&[], entropy.bytes);
}

fn bandwidth(out: &mut Metrics, all: &Everything) {
    type Value = fn(&Usage) -> i64;
    let families: [(&str, &str, &str, Value); 6] = [
        (
            "weir_site_bytes_total",
            "counter",
            "Bytes of responses (down) and of content of requests (up).",
            |u| u.bytes.try_into().unwrap_or(i64::MAX),
        ),
        ("weir_site_rate_bytes", "gauge", "Bytes in the last whole second.", |u| {
            u.rate.try_into().unwrap_or(i64::MAX)
        }),
        ("weir_site_tokens_bytes", "gauge", "Bytes the ceiling would let through at once.", |u| {
            u.tokens.unwrap_or(0)
        }),
        ("weir_site_queued", "gauge", "Connections waiting for bandwidth.", |u| u.queued.into()),
        ("weir_site_queued_bytes", "gauge", "Bytes that the waiting connections have ready to send.", |u| {
            u.queued_bytes.try_into().unwrap_or(i64::MAX)
        }),
        ("weir_site_delayed_total", "counter", "Number of times a connection had to wait.", |u| {
            u.delayed.try_into().unwrap_or(i64::MAX)
        }),
    ];
    for (name, kind, help, value) in families {
        out.family(name, kind, help);
        for site in &all.sites {
            for (direction, usage) in [("down", &site.metrics.down), ("up", &site.metrics.up)] {
                if name != "weir_site_tokens_bytes" || usage.tokens.is_some() {
                    out.sample(&[("site", &site.name), ("direction", direction)], value(usage));
                }
            }
        }
    }
    out.family("weir_site_connections", "gauge", "Connections whose last request was for the site.");
    for site in &all.sites {
        out.sample(&[("site", &site.name)], site.metrics.connections);
    }
    out.family(
        "weir_site_dropped_total",
        "counter",
        "Requests rejected and connections closed because of a limit.",
    );
    for site in &all.sites {
        for (limit, value) in [
            ("connections", site.metrics.refused_connections),
            ("requests", site.metrics.refused_requests),
            ("min_send_rate", site.metrics.too_slow),
        ] {
            out.sample(&[("site", &site.name), ("limit", limit)], value);
        }
    }
}

/// Prometheus' text format, version 0.0.4.
#[derive(Default)]
struct Metrics {
    text: String,
    name: String,
}

impl Metrics {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        name.clone_into(&mut self.name);
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        // Names of sites and pools, and reason phrases, need no escaping.
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::LogState;
    use model::control::message::{EntropyInfo, PoolInfo, SiteInfo, Status, WorkerInfo};
    use model::metrics::SiteMetrics;
    use model::settings::Worker;

    fn everything() -> Everything {
        let worker = WorkerInfo {
            address: Worker { cid: 2, port: 10_000 },
            leaving: false,
            healthy: true,
            down: false,
            note: String::new(),
            in_hand: 1,
            served: 7,
            unused_ms: 1500,
        };
        let down = Usage { bytes: 10, rate: 5, tokens: Some(-3), queued: 2, queued_bytes: 9, delayed: 4 };
        Everything {
            status: Status {
                uptime_ms: 1500,
                counters: vec![("requests".into(), 3)],
                reasons: vec![("QueueFull".into(), 2)],
                tls: Some(Box::new(TlsInfo {
                    handshaking: 2,
                    counters: TlsCounters {
                        handshakes: 9,
                        resumed: 5,
                        garbage: 3,
                        plain_http: 1,
                        ..TlsCounters::default()
                    },
                    without: None,
                })),
                entropy: EntropyInfo {
                    seeded: true,
                    sources: vec![("processor".into(), true), ("virtio-rng".into(), false)],
                    seeds: 4,
                    bytes: 1000,
                },
                ..Status::default()
            },
            pools: vec![PoolInfo {
                name: "app".into(),
                state: 3,
                out: None,
                waiting: 1,
                in_hand: 1,
                workers: vec![worker],
            }],
            sites: vec![SiteInfo {
                name: "demo".into(),
                bandwidth: Default::default(),
                limits: Default::default(),
                metrics: SiteMetrics { down, connections: 1, refused_requests: 6, ..SiteMetrics::default() },
                certificates_end: vec![4_000_000_000],
            }],
            logs: Some(LogState {
                write_errors: 3,
                lines_given_up: 0,
                failing: [("access".to_owned(), "/logs: No space left on device".to_owned())].into(),
            }),
        }
    }

    #[test]
    fn people_see_everything() {
        let text = status(&everything());
        for line in [
            "up 1.5 s, 0 connections, 0 links (0 in use), 0 bytes buffered",
            "pool app: Running, 1 waiting, 1 in progress",
            "  worker 2:10000: healthy, 1 in progress, 7 served, idle for 1.5 s",
            "site demo: 1 connections; down 5 B/s now, 2 queued, -3 tokens; up 0 B/s now, 0 queued",
            "refused QueueFull: 2",
            "log access cannot be written: /logs: No space left on device",
            "logs: 3 attempts to write failed, 0 lines lost",
            "TLS: 9 handshakes (5 resumed), 2 in progress, 3 failed",
            "random numbers: processor, virtio-rng FAILED (4 seeds)",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is missing in {text}");
        }
    }

    #[test]
    fn every_sample_belongs_to_a_family() {
        let text = metrics(&everything());
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap_or("");
            } else if !line.starts_with('#') {
                assert!(
                    line.starts_with(family)
                        && line.rsplit(' ').next().is_some_and(|v| v.parse::<f64>().is_ok())
                );
            }
        }
        for line in [
            "weir_requests_total 3",
            "weir_logs_failing 1",
            "weir_log_write_errors_total 3",
            "weir_refused_total{reason=\"QueueFull\"} 2",
            "weir_pool_state{pool=\"app\"} 3",
            "weir_worker_served_total{pool=\"app\",worker=\"2:10000\"} 7",
            "weir_site_tokens_bytes{site=\"demo\",direction=\"down\"} -3",
            "weir_site_dropped_total{site=\"demo\",limit=\"requests\"} 6",
            "weir_tls_handshakes_total{kind=\"full\"} 4",
            "weir_tls_handshakes_failed_total{reason=\"garbage\"} 2",
            "weir_tls_handshakes_in_progress 2",
            "weir_site_certificate_not_after_seconds{site=\"demo\",certificate=\"0\"} 4000000000",
            "weir_entropy_source_healthy{source=\"virtio-rng\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is missing in {text}");
        }
        assert!(
            !text.contains("weir_site_tokens_bytes{site=\"demo\",direction=\"up\"}"),
            "no ceiling, no tokens"
        );
    }
}
