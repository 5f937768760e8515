//! Requests per second, side by side. The machines take turns, so that load on the host affects both.

use crate::machine::{Kind, Lab};
use crate::wrk::Wrk;
use crate::{Options, median};
use anyhow::{Context, Result};
use std::time::Duration;

pub(crate) const CONNECTIONS: u32 = 32;
const ROWS: [(&str, &str, bool); 4] = [
    ("128 bytes, keep-alive", "/128", false),
    ("4 KiB, keep-alive", "/4k", false),
    ("1 MiB, keep-alive", "/1m.bin", false),
    ("128 bytes, a connection each", "/128", true),
];
/// With everything on one processor, results are steadier, because wake-ups across processors vary.
pub(crate) const PINNED_CPU: usize = 1;

/// Results of a machine under load.
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
                    let (connections, seconds) = (CONNECTIONS, options.seconds);
                    let wrk = Wrk { path, host: None, connections, close, pinned, seconds };
                    let figures = wrk.run().with_context(|| format!("{kind:?} {path}"))?;
                    row[column].push(Sample { per_second: figures.per_second, p99_ms: figures.p99_ms });
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
