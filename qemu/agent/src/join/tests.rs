use super::*;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::{JoinHandle, spawn};
use std::time::Instant;

/// Time limit for a dead host in tests about it.
const QUICK: Duration = Duration::from_millis(200);
/// Time limit that only a failure reaches.
const PATIENCE: Duration = Duration::from_secs(60);

/// The far ends of a host's and an application's stream, and the thread that joins their near ends.
fn joined() -> (UnixStream, UnixStream, JoinHandle<Outcome>) {
    joined_within(PATIENCE)
}

/// The same, with this time limit for a dead host.
fn joined_within(stall_limit: Duration) -> (UnixStream, UnixStream, JoinHandle<Outcome>) {
    let (host, near_host) = UnixStream::pair().expect("pair");
    let (application, near_application) = UnixStream::pair().expect("pair");
    for near in [&near_host, &near_application] {
        near.set_nonblocking(true).expect("flag");
    }
    let thread = spawn(move || join_within(&mut near_host.as_fd(), &near_application, stall_limit));
    (host, application, thread)
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8).wrapping_add(seed)).collect()
}

/// Writes in pieces from another thread, so that both directions run at once.
fn writer(mut to: UnixStream, content: Vec<u8>, piece: usize) -> JoinHandle<()> {
    spawn(move || content.chunks(piece.max(1)).for_each(|piece| to.write_all(piece).expect("written")))
}

/// Like [`joined`], for an application that reads nothing: its socket is full before the two are joined.
fn joined_to_stuck(stall_limit: Duration) -> (UnixStream, UnixStream, JoinHandle<(Outcome, u64)>) {
    let (host, near_host) = UnixStream::pair().expect("pair");
    let (application, mut near_application) = UnixStream::pair().expect("pair");
    for near in [&near_host, &near_application] {
        near.set_nonblocking(true).expect("flag");
    }
    while near_application.write(&[0; 65_536]).is_ok() {}
    let thread = spawn(move || {
        let outcome = join_within(&mut near_host.as_fd(), &near_application, stall_limit);
        (outcome, processor_time())
    });
    (host, application, thread)
}

/// Processor time of this thread, in hundredths of a second.
fn processor_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("stat");
    let fields: Vec<_> = stat.rsplit_once(')').expect("name").1.split_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

fn read_exact(from: &mut impl Read, len: usize) -> Vec<u8> {
    let mut got = vec![0; len];
    from.read_exact(&mut got).expect("as many bytes as were sent");
    got
}

#[test]
fn megabytes_cross_in_both_directions_and_are_exact() {
    const LEN: usize = 8_000_000;
    let (mut host, mut application, thread) = joined();
    let up = writer(host.try_clone().expect("clone"), pattern(LEN, 1), 70_001);
    let down = writer(application.try_clone().expect("clone"), pattern(LEN, 2), 3_001);
    let reader = spawn(move || {
        let got = read_exact(&mut application, LEN);
        (got, application)
    });
    assert!(read_exact(&mut host, LEN) == pattern(LEN, 2), "differs");
    let (got, application) = reader.join().expect("reader");
    assert!(got == pattern(LEN, 1), "differs");
    up.join().and(down.join()).expect("writers");
    drop(application);
    assert_eq!(read_exact(&mut host, 0), [] as [u8; 0]);
    assert_eq!(host.read(&mut [0]).expect("end"), 0);
    let outcome = thread.join().expect("joined");
    assert_eq!(
        outcome,
        Outcome { to_application: LEN as u64, to_host: LEN as u64, aborted: false, cut: false }
    );
}

#[test]
fn what_an_ended_application_sent_is_delivered_to_a_slow_host() {
    const LEN: usize = 3_000_000;
    let (mut host, mut application, thread) = joined_within(QUICK);
    let sender = spawn(move || application.write_all(&pattern(LEN, 3)).expect("written"));
    // Longer than the limit for a dead host.
    std::thread::sleep(QUICK * 2);
    assert!(read_exact(&mut host, LEN) == pattern(LEN, 3), "differs");
    assert_eq!(host.read(&mut [0]).expect("end"), 0);
    sender.join().expect("sender");
    assert!(!thread.join().expect("joined").aborted);
}

#[test]
fn what_an_ended_host_sent_is_delivered() {
    const LEN: usize = 1_000_000;
    let (host, mut application, thread) = joined();
    writer(host, pattern(LEN, 4), 10_000);
    assert!(read_exact(&mut application, LEN) == pattern(LEN, 4), "differs");
    assert_eq!(application.read(&mut [0]).expect("end"), 0);
    thread.join().expect("joined");
}

#[test]
fn a_side_that_is_not_read_holds_no_more_than_buffers() {
    let (host, application, thread) = joined();
    host.set_nonblocking(true).expect("flag");
    let piece = [7; 65_536];
    let began = Instant::now();
    let (mut sent, mut last) = (0, Instant::now());
    while last.elapsed() < QUICK && began.elapsed() < Duration::from_secs(10) {
        match (&host).write(&piece) {
            Ok(n) => (sent, last) = (sent + n, Instant::now()),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    assert!(sent < 2_000_000, "{sent} bytes went into two sockets and a buffer");
    drop(host);
    drop(application);
    thread.join().expect("joined");
}

#[test]
fn a_host_that_is_gone_is_given_up_when_the_application_is_stuck() {
    let (mut host, application, thread) = joined_to_stuck(QUICK);
    host.write_all(b"request").expect("written");
    let began = Instant::now();
    drop(host);
    let (outcome, _) = thread.join().expect("joined");
    assert!(outcome.aborted && began.elapsed() >= QUICK, "{outcome:?} {:?}", began.elapsed());
    drop(application);
}

#[test]
fn a_host_that_leaves_before_the_end_of_the_response_is_an_abort() {
    let (mut host, mut application, thread) = joined_within(QUICK);
    host.write_all(b"request").expect("written");
    assert_eq!(read_exact(&mut application, 7), b"request");
    let flood = spawn(move || while application.write_all(&[1; 65_536]).is_ok() {});
    assert_eq!(read_exact(&mut host, 100_000), [1; 100_000]);
    drop(host);
    assert!(thread.join().expect("joined").aborted);
    flood.join().expect("the application's writes fail");
}

#[test]
fn an_application_that_takes_no_more_is_heard_out() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connection");
    let (mut application, _) = listener.accept().expect("accepted");
    let (mut host, near_host) = UnixStream::pair().expect("pair");
    for set in [near.set_nonblocking(true), near_host.set_nonblocking(true)] {
        set.expect("flag");
    }
    let thread = spawn(move || join(&mut near_host.as_fd(), &near));
    // The response comes before the request is complete, and the rest of the request is not read.
    application.write_all(b"413").expect("written");
    application.shutdown(std::net::Shutdown::Write).expect("half closed");
    assert_eq!(read_exact(&mut host, 3), b"413");
    assert_eq!(host.read(&mut [0]).expect("end"), 0);
    thread.join().expect("joined");
}

#[test]
fn an_idle_pair_takes_no_processor_time() {
    // The application is stuck and the host is gone: both ends have been seen, and nothing can be done.
    let (mut host, application, thread) = joined_to_stuck(Duration::from_secs(1));
    host.write_all(b"request").expect("written");
    drop(host);
    let (_, used) = thread.join().expect("joined");
    drop(application);
    assert!(used <= 30, "{used} hundredths of a second in one that did nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_pieces_come_out_as_they_went_in(
        up in prop::collection::vec(1usize..90_000, 0..8),
        down in prop::collection::vec(1usize..90_000, 0..8),
        ends in any::<bool>(),
    ) {
        let (mut host, mut application, thread) = joined();
        let (up_len, down_len) = (up.iter().sum(), down.iter().sum());
        let send = |mut to: UnixStream, pieces: Vec<usize>, seed| spawn(move || {
            let content = pattern(pieces.iter().sum(), seed);
            let mut rest = content.as_slice();
            for len in pieces {
                let (piece, more) = rest.split_at(len);
                to.write_all(piece).expect("written");
                rest = more;
            }
        });
        let first = send(host.try_clone().expect("clone"), up, 5);
        let second = send(application.try_clone().expect("clone"), down, 6);
        let reader = spawn(move || (read_exact(&mut application, up_len), application));
        prop_assert!(read_exact(&mut host, down_len) == pattern(down_len, 6));
        let (got, application) = reader.join().expect("reader");
        prop_assert!(got == pattern(up_len, 5));
        first.join().and(second.join()).expect("writers");
        if ends { drop(host) } else { drop(application) }
        let outcome = thread.join().expect("joined");
        prop_assert_eq!((outcome.to_application, outcome.to_host), (up_len as u64, down_len as u64));
    }
}
