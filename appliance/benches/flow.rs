//! Instructions that bandwidth control executes per response, with 1,000 sites and 10,000 clients.
//!
//! ```sh
//! cargo bench -p appliance --bench flow -- free 200000        # or waiting, or unlimited
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null PATH-OF-THE-BENCHMARK free 200000
//! ```
//!
//! The cost of one response is the difference between two runs of different length, divided by the difference
//! in length.

use appliance::flow::{Direction, Flow};
use model::id::SiteId;
use model::settings::{Settings, Site, SiteBandwidth};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

const SITES: u32 = 1_000;
const CLIENTS: u32 = 10_000;
const RESPONSE: usize = 1_300;

fn settings(limited: bool) -> Settings {
    let bandwidth = SiteBandwidth {
        ceil: limited.then_some(10_000_000),
        client_ceil: limited.then_some(5_000_000),
        ..SiteBandwidth::default()
    };
    let mut settings = Settings::default();
    settings.server.bandwidth.ceil = limited.then_some(1_000_000_000);
    settings.sites = (0..SITES).map(|_| Site { bandwidth, ..Site::default() }).collect();
    settings
}

fn address(client: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + client))
}

fn main() {
    // Ignores the flag added by `cargo bench`.
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let mode = args.next().unwrap_or_else(|| "free".into());
    let count: u32 = args.next().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let Ok(mut flow) = Flow::new(&settings(mode != "unlimited"), (1, 2), 0) else { return };
    let mut now = 1_000_000_000;
    for conn in 0..CLIENTS {
        let _ = flow.admit(conn, SiteId((conn % SITES) as u16), address(conn), now);
    }
    let mut granted = 0;
    if mode == "waiting" {
        for conn in 0..CLIENTS {
            granted += flow.request(Direction::Down, conn, 1 << 20, now);
        }
        for _ in 0..count {
            now = now.max(black_box(flow.next_deadline_ns()).unwrap_or(now));
            if let Some((_, conn, bytes)) = black_box(flow.pop_ready(now)) {
                granted += bytes + flow.request(Direction::Down, conn, 1 << 20, now);
            }
        }
    } else {
        for n in 0..count {
            // A stride through all clients, so that none is in the cache by chance.
            let conn = n.wrapping_mul(7_919) % CLIENTS;
            now += 10_000;
            let _ = black_box(flow.admit(conn, SiteId((conn % SITES) as u16), address(conn), now));
            granted += black_box(flow.request(Direction::Down, conn, RESPONSE, now));
            black_box(flow.pop_ready(now));
            black_box(flow.next_deadline_ns());
        }
    }
    println!("{mode}: {count} times, {granted} bytes granted");
}
