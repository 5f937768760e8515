//! Requests per second, side by side. The machines take turns, so that a busy moment of the host falls on both.

use crate::machine::{Kind, Lab};
use crate::{Options, median};
use anyhow::{Context, Result, ensure};
use std::process::Command;
use std::time::Duration;
use weir_tests::net::GUEST;

pub(crate) const CONNECTIONS: u32 = 32;
const ROWS: [(&str, &str, bool); 4] = [
    ("128 bytes, keep-alive", "/128", false),
    ("4 KiB, keep-alive", "/4k", false),
    ("1 MiB, keep-alive", "/1m.bin", false),
    ("128 bytes, a connection each", "/128", true),
];
/// With everything on one processor figures are steadier: wake-ups across processors are what varies.
pub(crate) const PINNED_CPU: usize = 1;

/// What a machine did under load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
}

pub(crate) async fn measure(lab: &Lab, options: &Options) -> Result<()> {
    println!(
        "{CONNECTIONS} connections, one vCPU under TCG, over a tap; medians of {} rounds of {} s\n",
        options.rounds, options.seconds
    );
    println!(
        "| file | processors | Weir, requests/s (p99) | nginx, requests/s (p99) | ratio |\n|---|---|---|---|---|"
    );
    for pinned in [true, false] {
        let mut samples: Vec<[Vec<Sample>; 2]> = ROWS.iter().map(|_| [Vec::new(), Vec::new()]).collect();
        for _ in 0..options.rounds {
            for (column, kind) in [Kind::Weir, Kind::Nginx].into_iter().enumerate() {
                let machine = lab.boot(kind).await?;
                machine.first_200(Duration::from_secs(30))?;
                if pinned {
                    machine.pin(PINNED_CPU)?;
                }
                for (row, (_, path, close)) in samples.iter_mut().zip(ROWS) {
                    row[column].push(
                        wrk(path, close, pinned, options.seconds)
                            .with_context(|| format!("{kind:?} {path}"))?,
                    );
                }
            }
        }
        for ((name, ..), [weir, nginx]) in ROWS.iter().zip(&samples) {
            let middle = |samples: &[Sample]| {
                let of = |f: fn(&Sample) -> f64| median(&samples.iter().map(f).collect::<Vec<_>>());
                (of(|s| s.per_second), of(|s| s.p99_ms))
            };
            let ((w, w99), (n, n99)) = (middle(weir), middle(nginx));
            let processors = if pinned { "one" } else { "all" };
            println!(
                "| {name} | {processors} | {w:.0} ({w99:.1} ms) | {n:.0} ({n99:.1} ms) | {:.2} |",
                w / n
            );
        }
    }
    println!();
    Ok(())
}

fn wrk(path: &str, close: bool, pinned: bool, seconds: u32) -> Result<Sample> {
    let mut command = if pinned {
        let mut taskset = Command::new("taskset");
        taskset.args(["-c", &PINNED_CPU.to_string(), "wrk"]);
        taskset
    } else {
        Command::new("wrk")
    };
    command.args([
        "-t1",
        &format!("-c{CONNECTIONS}"),
        &format!("-d{seconds}s"),
        "--latency",
        "--timeout",
        "10s",
    ]);
    if close {
        command.args(["-H", "Connection: close"]);
    }
    let output = command.arg(format!("http://{GUEST}{path}")).output().context("starting wrk")?;
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    let after = |mark: &str| report.lines().find_map(|line| line.trim().strip_prefix(mark)).map(str::trim);
    let errors = after("Non-2xx or 3xx responses:").or(after("Socket errors:"));
    if let Some(errors) = errors {
        eprintln!("[wrk] {path}: errors: {errors}");
    }
    Ok(Sample {
        per_second: after("Requests/sec:").and_then(|n| n.parse().ok()).context("no Requests/sec")?,
        p99_ms: after("99%").and_then(milliseconds).context("no 99%")?,
    })
}

/// Reads wrk's times: `312.00us`, `1.20ms`, `2.01s`.
fn milliseconds(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| c.is_alphabetic())?;
    let number: f64 = text[..unit].parse().ok()?;
    Some(
        number
            * match &text[unit..] {
                "us" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 6e4,
                _ => return None,
            },
    )
}
