//! Many clients, one appliance, bad networks, crashing workers.

use crate::network::Quality;
use crate::requests;
use crate::world::World;

const SECOND: u64 = 1_000_000_000;
const BUFFERS: usize = 8 << 20;

/// Runs `scenario` for every seed, or for the one in the environment.
pub fn for_seeds(default: u64, scenario: impl Fn(u64) -> Result<(), String>) {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let seeds = match from_env("WEIR_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("WEIR_SIM_SEEDS").unwrap_or(default),
    };
    for seed in seeds {
        if let Err(why) = scenario(seed) {
            panic!("seed {seed}: {why} (run it alone with WEIR_SIM_SEED={seed})");
        }
    }
}

pub fn quality(rng: &mut fastrand::Rng) -> Quality {
    if rng.bool() {
        return Quality::LAN;
    }
    Quality {
        delay_ns: rng.u64(50_000..20_000_000),
        jitter_ns: rng.u64(0..5_000_000),
        loss_permille: rng.u64(0..30),
        duplicate_permille: rng.u64(0..30),
    }
}

/// Checks that nothing remains of the clients after they have gone.
pub fn nothing_leaks(world: &mut World) -> Result<(), String> {
    world.run_for(200 * SECOND);
    let stack = world.shard.tcp();
    let left = [
        ("connections", stack.established()),
        ("half-open connections", stack.half_open()),
        ("buffer bytes", stack.buffer_bytes()),
        ("waiting requests", world.shard.hub().pools().waiting()),
        ("links in use", world.shard.hub().pools().links_in_use()),
        ("links", world.shard.hub().pools().links()),
        ("held bytes", world.shard.held_bytes()),
    ];
    match left.into_iter().find(|(_, n)| *n != 0) {
        Some((what, n)) => Err(format!("{n} {what} left at the end")),
        None => Ok(()),
    }
}

#[test]
fn every_request_is_answered_right() {
    for_seeds(60, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, quality(&mut rng), rng.bool(), BUFFERS);
        for _ in 0..rng.usize(1..20) {
            let script = (0..rng.usize(1..8)).map(|_| requests::any(&mut rng)).collect();
            let buffer = if rng.bool() { 65_535 } else { 2048 };
            let pipeline = if rng.bool() { 1 } else { 4 };
            world.add_client(script, buffer, pipeline);
        }
        world.run(900 * SECOND)?;
        nothing_leaks(&mut world)
    });
}

#[test]
fn a_large_upload_is_not_forgotten_when_the_link_is_full() {
    for_seeds(3, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, Quality::LAN, true, BUFFERS);
        let content = crate::world::pattern(2_000_000);
        for chunked in [false, true] {
            world.add_client(vec![requests::discard(&content, chunked, &mut rng)], 65_535, 1);
        }
        world.run(2 * SECOND)?;
        nothing_leaks(&mut world)
    });
}

#[test]
fn memory_for_a_handful_of_connections_serves_many_clients_one_after_the_other() {
    for_seeds(10, |seed| {
        let mut world = World::new(seed, Quality::LAN, true, 100 << 10);
        for _ in 0..60 {
            let client = world.add_client(vec![requests::file(4096), requests::hello()], 4096, 1);
            // Its idle connection may be closed to make room for another.
            world.clients[client].retries = true;
        }
        world.run(900 * SECOND)?;
        nothing_leaks(&mut world)
    });
}

#[test]
fn small_reads_survive_a_dying_worker() {
    for_seeds(30, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, Quality::LAN, true, BUFFERS);
        for _ in 0..10 {
            let script = (0..20)
                .map(|_| {
                    let mut exchange = match rng.u8(..3) {
                        0 => requests::hello(),
                        1 => requests::get("/api/sleep/20", b"slept 20 ms\n".to_vec()),
                        _ => requests::get("/api/bytes/100000", crate::world::pattern(100_000)),
                    };
                    // Requests in progress may be truncated, or fail with 502 after their single replay, but responses are never
                    // wrong.
                    exchange.may_break = true;
                    exchange
                })
                .collect();
            world.add_client(script, 65_535, 1);
        }
        world.crashes =
            (1..5).map(|i| (i * 60_000_000 + rng.u64(..30_000_000), rng.u64(..500_000_000))).collect();
        world.run(900 * SECOND)?;
        let answered: usize = world.clients.iter().map(|c| c.tally.answered).sum();
        let broken: usize = world.clients.iter().map(|c| c.tally.broken).sum();
        if answered + broken != 200 || answered < 100 {
            return Err(format!("{answered} answered, {broken} broken off of 200"));
        }
        nothing_leaks(&mut world)
    });
}

#[test]
fn a_flood_of_connection_attempts_leaves_honest_clients_alone() {
    for_seeds(5, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, Quality::LAN, true, BUFFERS);
        for _ in 0..5 {
            world.add_client(vec![requests::file(4096); 20], 65_535, 1);
        }
        for _ in 0..20_000 {
            world.shard.nic().deliver(syn(&mut rng));
            world.poll_shard();
            world.step();
        }
        world.run(60 * SECOND)?;
        if world.shard.tcp().half_open() > 1024 || world.shard.tcp().counters().half_open_evicted == 0 {
            return Err("the bound on half-open connections was not enforced".into());
        }
        nothing_leaks(&mut world)
    });
}

#[test]
fn frames_of_noise_stop_nothing() {
    for_seeds(5, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(seed, Quality::LAN, true, BUFFERS);
        world.add_client(vec![requests::file(4096); 50], 65_535, 1);
        for _ in 0..20_000 {
            let mut frame = syn(&mut rng);
            frame.truncate(rng.usize(..=frame.len()));
            for _ in 0..rng.usize(..4) {
                if !frame.is_empty() {
                    let at = rng.usize(..frame.len());
                    frame[at] = rng.u8(..);
                }
            }
            world.shard.nic().deliver(frame);
            world.poll_shard();
            world.step();
        }
        world.run(60 * SECOND)?;
        nothing_leaks(&mut world)
    });
}

/// A SYN from an arbitrary address, with a correct checksum.
pub fn syn(rng: &mut fastrand::Rng) -> Vec<u8> {
    use smoltcp::wire::{
        IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    };
    let from = smoltcp::wire::Ipv4Address::new(172, rng.u8(16..32), rng.u8(..), rng.u8(1..));
    let to = smoltcp::wire::Ipv4Address::new(10, 0, 0, 1);
    let tcp = TcpRepr {
        src_port: rng.u16(1024..),
        dst_port: 80,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(rng.i32(..)),
        ack_number: None,
        window_len: 65_535,
        window_scale: Some(7),
        max_seg_size: Some(1460),
        sack_permitted: true,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let checksums = smoltcp::phy::ChecksumCapabilities::default();
    let mut frame = vec![0; 14 + ip.buffer_len() + tcp.buffer_len()];
    frame[..6].copy_from_slice(&crate::nic::MAC);
    frame[6] = 2;
    frame[12] = 8;
    let (header, segment) = frame[14..].split_at_mut(ip.buffer_len());
    ip.emit(&mut Ipv4Packet::new_unchecked(header), &checksums);
    tcp.emit(
        &mut TcpPacket::new_unchecked(segment),
        &IpAddress::Ipv4(from),
        &IpAddress::Ipv4(to),
        &checksums,
    );
    frame
}
