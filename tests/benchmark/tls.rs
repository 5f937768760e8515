//! TLS beside nginx with OpenSSL: handshakes, and requests over keep-alive connections.
//!
//! The client is rustls on blocking threads: unlike `wrk` it measures handshakes separately, reports whether they were resumed,
//! and does not busy-wait. Both servers have an ECDSA P-256 certificate from the same CA, and the client offers one cipher suite
//! and one group, so that both do the same work.

use crate::load::{CONNECTIONS, PINNED_CPU, Sample};
use crate::machine::{Kind, Lab};
use crate::{Options, median};
use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustls::client::Resumption;
use rustls::crypto::ring::{cipher_suite::TLS13_AES_128_GCM_SHA256, default_provider, kx_group::X25519};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use weir_tests::net::GUEST;

/// Clients that perform handshakes concurrently.
const HANDSHAKERS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    /// Connections that end after their handshake.
    Handshakes(HandshakeKind),
    /// Requests for a file and its length.
    Requests(&'static str, usize),
}

const ROWS: [(&str, Work); 5] = [
    ("full handshakes", Work::Handshakes(HandshakeKind::Full)),
    ("resumed handshakes", Work::Handshakes(HandshakeKind::Resumed)),
    ("128 bytes, keep-alive", Work::Requests("/128", 128)),
    ("4 KiB, keep-alive", Work::Requests("/4k", 4 << 10)),
    ("1 MiB, keep-alive", Work::Requests("/1m.bin", 1 << 20)),
];

type Stream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) async fn measure(lab: &Lab, options: &Options) -> Result<()> {
    println!(
        "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519, ECDSA P-256; {HANDSHAKERS} clients that do handshakes, {CONNECTIONS} kept \
         connections; one processor; medians of {} rounds of {} s\n",
        options.rounds, options.seconds
    );
    println!("| over TLS | Weir, a second (p99) | nginx, a second (p99) | ratio |\n|---|---|---|---|");
    let mut samples: Vec<[Vec<Sample>; 2]> = ROWS.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    let duration = Duration::from_secs(options.seconds.into());
    for _ in 0..options.rounds {
        for (column, kind) in [Kind::Weir, Kind::Nginx].into_iter().enumerate() {
            let machine = lab.boot(kind).await?;
            machine.first_200(Duration::from_secs(30))?;
            machine.pin(PINNED_CPU)?;
            for (row, (name, work)) in samples.iter_mut().zip(ROWS) {
                let sample =
                    load(work, &lab.authority, duration).with_context(|| format!("{kind:?}, {name}"))?;
                row[column].push(sample);
            }
        }
    }
    for ((name, _), [weir, nginx]) in ROWS.iter().zip(&samples) {
        let of =
            |samples: &[Sample], f: fn(&Sample) -> f64| median(&samples.iter().map(f).collect::<Vec<_>>());
        let (w, n) = (of(weir, |s| s.per_second), of(nginx, |s| s.per_second));
        let (w99, n99) = (of(weir, |s| s.p99_ms), of(nginx, |s| s.p99_ms));
        println!("| {name} | {w:.0} ({w99:.1} ms) | {n:.0} ({n99:.1} ms) | {:.2} |", w / n);
    }
    println!();
    Ok(())
}

/// Runs all clients for this long. Each has a connection before the time begins.
fn load(work: Work, authority: &Path, duration: Duration) -> Result<Sample> {
    let clients = if matches!(work, Work::Requests(..)) { CONNECTIONS } else { HANDSHAKERS };
    let barrier = Barrier::new(clients as usize);
    let results: Vec<Result<Vec<Duration>>> = thread::scope(|scope| {
        let client = || client(work, authority, duration, &barrier);
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let ended = |t: thread::ScopedJoinHandle<'_, Result<Vec<Duration>>>| {
            t.join().unwrap_or_else(|_| Err(anyhow!("a client panicked")))
        };
        threads.into_iter().map(ended).collect()
    });
    let mut times = Vec::new();
    for result in results {
        times.append(&mut result?);
    }
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).context("nothing was done in time")?;
    Ok(Sample { per_second: times.len() as f64 / duration.as_secs_f64(), p99_ms: p99.as_secs_f64() * 1e3 })
}

/// Works until the time is over; returns what was done, and how long each item took.
fn client(work: Work, authority: &Path, duration: Duration, barrier: &Barrier) -> Result<Vec<Duration>> {
    let mut cpus = CpuSet::new();
    cpus.set(PINNED_CPU);
    sched_setaffinity(None, &cpus).context("binding to a processor")?;
    let first = config(work, authority).and_then(|config| Ok((connect(&config)?, config)));
    // Even after an error, because the others wait.
    barrier.wait();
    let (mut stream, config) = first?;
    let end = Instant::now() + duration;
    let (mut times, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    if let Work::Handshakes(_) = work {
        finish(stream, &mut buffer)?;
        loop {
            let began = Instant::now();
            let stream = connect(&config)?;
            let kind = stream.conn.handshake_kind();
            finish(stream, &mut buffer)?;
            if Instant::now() > end {
                return Ok(times);
            }
            ensure!(work == Work::Handshakes(kind.context("no handshake")?), "a handshake was {kind:?}");
            times.push(began.elapsed());
        }
    }
    let Work::Requests(path, len) = work else { return Ok(times) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {GUEST}\r\n\r\n");
    loop {
        let began = Instant::now();
        stream.write_all(request.as_bytes())?;
        response(&mut stream, len, &mut buffer)?;
        if Instant::now() > end {
            return Ok(times);
        }
        times.push(began.elapsed());
    }
}

fn config(work: Work, authority: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let mut provider = default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![X25519];
    let builder =
        ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    if work == Work::Handshakes(HandshakeKind::Full) {
        config.resumption = Resumption::disabled();
    }
    Ok(config.into())
}

/// A connection after its handshake.
fn connect(config: &Arc<ClientConfig>) -> Result<Stream> {
    let address = SocketAddr::new(GUEST.parse()?, 443);
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut tls = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(tls, socket))
}

/// Closes the connection, and reads the tickets.
fn finish(mut stream: Stream, buffer: &mut [u8]) -> Result<()> {
    stream.conn.send_close_notify();
    stream.flush()?;
    loop {
        match stream.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a response with this length of content.
fn response(stream: &mut Stream, len: usize, buffer: &mut [u8]) -> Result<()> {
    let (mut have, mut whole) = (0, None);
    while whole.is_none_or(|whole| have < whole) {
        let at = if whole.is_none() { have } else { 0 };
        let read = stream.read(&mut buffer[at..])?;
        ensure!(read > 0, "the connection ended");
        have += read;
        if whole.is_none() {
            let head = buffer[..have].windows(4).position(|end| end == b"\r\n\r\n");
            whole = head.map(|head| head + 4 + len);
            ensure!(buffer.starts_with(b"HTTP/1.1 200"), "the status is not 200");
        }
    }
    ensure!(whole == Some(have), "the response is longer than it should be");
    Ok(())
}
