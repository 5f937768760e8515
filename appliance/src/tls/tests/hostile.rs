//! Bytes that no good client sends, and good ones cut or damaged in every way.

use super::*;

fn first_bytes(bytes: &[u8]) -> (Option<Fault>, Vec<u8>) {
    let store = one(&Ca::new("ca"));
    let mut link = Link::new(16 << 10, usize::MAX);
    link.arrive(bytes, &store);
    (link.server.fault(), link.server.output().to_vec())
}

#[test]
fn garbage_is_ended_with_an_alert_and_http_is_left_to_be_answered() {
    for garbage in [&b"\0"[..], b"\x16\x02\x01\x00\x05hello", b"quit\r\n"] {
        let (fault, output) = first_bytes(garbage);
        assert_eq!((fault, &output[..]), (Some(Fault::Garbage), &[21, 3, 3, 0, 2, 2, 10][..]));
    }
    let (fault, output) = first_bytes(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(fault, Some(Fault::PlainHttp));
    // Answered in plaintext by the owner of the connection.
    assert_eq!(output, b"");
}

#[test]
fn a_hello_that_is_no_hello_fails_in_the_handshake() {
    // A handshake record with a message that rustls refuses.
    let (fault, output) = first_bytes(&[22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0]);
    assert_eq!((fault, &output[..]), (Some(Fault::Handshake), &[21, 3, 3, 0, 2, 2, 50][..]));
    let ca = Ca::new("ca");
    let tls = with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]);
    let store = store_of(vec![site("a", &["*"], tls)]).unwrap();
    let mut link = Link::new(16 << 10, usize::MAX);
    link.arrive(&[22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0], &store);
    assert_eq!(link.server.fault(), Some(Fault::Handshake));
    assert_eq!(link.server.output()[0], 21);
}

#[test]
fn a_truncated_hello_waits_and_an_oversized_one_is_refused() {
    let (fault, output) = first_bytes(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    assert_eq!((fault, output.len()), (None, 0));
    let (fault, output) = first_bytes(&[22, 3, 1, 0, 4, 1, 1, 0, 0]);
    assert_eq!((fault, &output[5..]), (Some(Fault::Oversized), &[2, 50][..]));
    // An endless series of records that never form a message.
    let mut flood = Vec::new();
    for _ in 0..30_000 {
        flood.extend_from_slice(&[22, 3, 1, 0, 1, 1]);
    }
    assert!(first_bytes(&flood).0.is_some());
}

#[test]
fn a_hello_fragmented_to_the_byte_is_accepted() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    for (capacity, step) in [(16 << 10, 1), (2048, 7), (600, 600)] {
        let mut client = Client::new(&ca).connect("a.test");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        // One record per byte of the message.
        let mut fragments = Vec::new();
        for byte in &hello[5..] {
            fragments.extend_from_slice(&[22, 3, 1, 0, 1, *byte]);
        }
        let mut link = Link::new(capacity, step);
        link.arrive(&fragments, &store);
        assert_eq!(link.server.fault(), None);
        assert!(!link.server.output().is_empty(), "{capacity} {step}");
        link.run(&mut client, &store).unwrap();
        assert!(link.server.is_open());
    }
}

#[test]
fn altered_records_end_the_connection_with_an_alert() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    let mut client = Client::new(&ca).connect("a.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    link.run(&mut client, &store).unwrap();
    client.writer().write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut record = Vec::new();
    client.write_tls(&mut record).unwrap();
    *record.last_mut().unwrap() ^= 1;
    link.arrive(&record, &store);
    assert_eq!((link.server.fault(), link.received.len()), (Some(Fault::Broken), 0));
    assert!(!link.server.output().is_empty() && link.server.has_ended());
    assert_eq!(link.server.encrypt(b"x", &mut [0; 100]), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn however_the_stream_is_cut(
        capacity in 600_usize..20_000,
        step in 1_usize..3000,
        room in 100_usize..20_000,
        pieces in proptest::collection::vec(1_usize..20_000, 1..6),
        tls12: bool,
    ) {
        let ca = Ca::new("ca");
        let store = one(&ca);
        let version = if tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
        let mut client = Client::versions(&ca, &[version], None).connect("a.test");
        client.set_buffer_limit(None);
        let mut link = Link::new(capacity, step);
        link.run(&mut client, &store).unwrap();
        for len in pieces {
            let content: Vec<u8> = (0..len).map(|n| (n * 31) as u8).collect();
            client.writer().write_all(&content).unwrap();
            link.run(&mut client, &store).unwrap();
            prop_assert!(link.received == content);
            link.received.clear();
            prop_assert!(link.send(&content, &mut client, room) == content);
        }
        prop_assert!(!link.server.holds_input());
    }

    #[test]
    fn arbitrary_first_bytes_do_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        as_record: bool,
        step in 1_usize..500,
    ) {
        let ca = Ca::new("ca");
        let tls = with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]);
        let store = store_of(vec![site("a", &["*"], tls)]).unwrap();
        let mut stream = Vec::new();
        if as_record {
            stream.extend_from_slice(&[22, 3, 1]);
            stream.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        }
        stream.extend_from_slice(&bytes);
        let mut link = Link::new(1 << 11, step);
        link.arrive(&stream, &store);
        prop_assert!(!link.server.is_open());
        let _ = link.server.version() == Some(ProtocolVersion::TLSv1_3);
    }

    #[test]
    fn damaged_hellos_do_not_panic(at in 0_usize..200, bit in 0_u8..8, cut in 0_usize..300) {
        let ca = Ca::new("ca");
        let store = one(&ca);
        let mut hello = Vec::new();
        Client::new(&ca).connect("a.test").write_tls(&mut hello).unwrap();
        if let Some(byte) = hello.get_mut(at) {
            *byte ^= 1 << bit;
        }
        hello.truncate(cut.max(1));
        let mut link = Link::new(1 << 12, usize::MAX);
        link.arrive(&hello, &store);
        prop_assert!(!link.server.is_open());
    }
}
