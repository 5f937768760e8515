//! Cost of connections and packets: allocations in steady state, memory of ten thousand idle connections, and work per packet
//! with ten and with ten thousand connections.

use crate::network::Quality;
use crate::requests;
use crate::world::World;

const SECOND: u64 = 1_000_000_000;

/// A world with this many idle open connections.
fn idle_world(connections: usize, buffer_bytes: usize) -> World {
    let mut world = World::new(1, Quality::LAN, false, buffer_bytes);
    for number in 0..connections {
        let client = world.add_client(vec![requests::file(128)], 2048, 1);
        world.clients[client].stay = true;
        // Not all at once, because half-open connections are limited by design.
        if number % 100 == 99 {
            world.run(60 * SECOND).expect("clients are served");
        }
    }
    world.run(60 * SECOND).expect("clients are served");
    assert_eq!(world.shard.tcp().established(), connections);
    world
}

/// Sends one request on every `step`th connection.
fn ask_around(world: &mut World, step: usize) {
    for client in (0..world.clients.len()).step_by(step) {
        world.ask(client, requests::file(128));
        if client / step % 50 == 49 {
            world.run(60 * SECOND).expect("clients are served");
        }
    }
    world.run(60 * SECOND).expect("clients are served");
}

#[test]
fn no_allocation_per_packet_and_per_static_hit() {
    let mut world = idle_world(10, 8 << 20);
    for _ in 0..100 {
        ask_around(&mut world, 1);
    }
    let (before, frames) = (world.work, world.shard.tcp().counters().frames_received);
    for _ in 0..200 {
        ask_around(&mut world, 1);
    }
    assert!(before.allocations > 0, "opening connections allocates: were allocations counted?");
    let frames = world.shard.tcp().counters().frames_received - frames;
    assert!(frames >= 2000, "{frames} frames");
    assert_eq!(world.work.allocations - before.allocations, 0, "allocations for {frames} frames");
}

#[test]
fn ten_thousand_idle_connections_take_at_most_120_mb() {
    let world = idle_world(10_000, 106_000_000);
    let bytes = world.work.heap_bytes;
    assert!(bytes <= 120_000_000, "{bytes} bytes for 10,000 connections");
    assert!(bytes >= 10_000 * 4096, "{bytes} bytes: were they counted?");
}

/// Prints the figures for tests/BENCHMARKS.md; run with `--ignored --nocapture` in a release build.
#[test]
#[ignore = "a benchmark"]
fn cost_by_number_of_connections() {
    println!("| open connections | heap, MB | bytes per connection | ns per received frame |");
    println!("|---|---|---|---|");
    for connections in [10, 100, 1_000, 10_000] {
        let mut world = idle_world(connections, 110_000_000);
        let step = connections.div_ceil(1000);
        ask_around(&mut world, step);
        let mut costs: Vec<u64> = (0..9)
            .map(|_| {
                let (work, frames) = (world.work, world.shard.tcp().counters().frames_received);
                (0..3000_usize.div_ceil(connections.min(1000))).for_each(|_| ask_around(&mut world, step));
                let frames = world.shard.tcp().counters().frames_received - frames;
                (world.work.elapsed_ns - work.elapsed_ns) / frames
            })
            .collect();
        costs.sort_unstable();
        let heap = world.work.heap_bytes;
        println!(
            "| {connections} | {:.1} | {} | {} |",
            heap as f64 / 1e6,
            heap / connections as i64,
            costs[costs.len() / 2]
        );
    }
}
