use super::*;
use proptest::prelude::*;

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &len, body].concat()
}

fn tcp4(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&[203, 0, 113, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80][..], tlvs].concat())
}

fn source(address: &str, port: u16) -> Source {
    Some((address.parse().unwrap(), port))
}

/// A client's address and port.
type Source = Option<(IpAddr, u16)>;

fn accepted() -> Vec<(Vec<u8>, Source)> {
    let v6 = [&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets()[..], &[0; 16], &[1, 2, 0, 80]].concat();
    let mapped = [&"::ffff:203.0.113.7".parse::<Ipv6Addr>().unwrap().octets()[..], &[0; 16], &[1, 2, 0, 80]];
    let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(longest.len(), MAX_V1);
    vec![
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 80\r\n".to_vec(), source("203.0.113.7", 12345)),
        (b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n".to_vec(), source("2001:db8::7", 0)),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n".to_vec(), source("203.0.113.7", 1)),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (longest.into(), None),
        (tcp4(b""), source("203.0.113.7", 12345)),
        (tcp4(&[0xaa; 500]), source("203.0.113.7", 12345)),
        (tcp4(&vec![0; MAX_HEADER - 28]), source("203.0.113.7", 12345)),
        (v2(0x21, 0x21, &v6), source("2001:db8::7", 258)),
        (v2(0x21, 0x21, &mapped.concat()), source("203.0.113.7", 258)),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, &[1; 12]), None),
        (v2(0x20, 0xff, b"x"), None),
        (v2(0x21, 0x00, b"anything"), None),
        (v2(0x21, 0x31, &[b'/'; 216]), None),
    ]
}

#[test]
fn headers_of_both_versions_in_any_pieces() {
    for (header, source) in accepted() {
        let whole = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        let complete = Parsed::Complete { len: header.len(), source };
        assert_eq!(parse(&whole), complete, "{}", header.escape_ascii());
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Parsed::Partial, "{cut} of {}", header.escape_ascii());
        }
    }
}

#[test]
fn invalid_headers_are_detected_at_once() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1));
    let mut cases: Vec<Vec<u8>> = [
        "GET / HTTP/1.1\r\n",
        "\u{16}\u{3}\u{1}",
        "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.1.1.1 ::1 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNX\r\n",
        "\r\n\r\nGET",
        &long,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    cases.extend([
        v2(0x11, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x22, &[0; 36]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x31, &[0; 215]),
        tcp4(&vec![0; MAX_HEADER - 27]),
        v2(0x20, 0x00, &[0; 65_535]),
    ]);
    for case in cases {
        assert_eq!(parse(&case), Parsed::Malformed, "{}", case.escape_ascii());
    }
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_splits(
        which in any::<prop::sample::Index>(),
        broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        rest: Vec<u8>,
    ) {
        let headers = accepted();
        let (mut input, _) = headers[which.index(headers.len())].clone();
        if let Some((at, byte)) = broken {
            let at = at.index(input.len());
            input[at] = byte;
        }
        input.extend(rest);
        let whole = parse(&input);
        for end in 0..input.len() {
            let part = parse(&input[..end]);
            match whole {
                Parsed::Partial => prop_assert_eq!(part, Parsed::Partial),
                Parsed::Complete { len, .. } => {
                    prop_assert_eq!(part, if end < len { Parsed::Partial } else { whole });
                }
                Parsed::Malformed => prop_assert!(matches!(part, Parsed::Partial | Parsed::Malformed)),
            }
        }
        prop_assert!(whole != Parsed::Partial || input.len() < MAX_HEADER);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(input: Vec<u8>) {
        let _ = parse(&input);
    }
}
