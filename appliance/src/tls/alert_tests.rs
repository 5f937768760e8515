//! All ways in which a handshake is refused, from raw bytes, and the alert for each (RFC 8446 §6.2, RFC 5246
//! §7.2.2).

use super::alert::Alert;
use super::tests::{Ca, one};
use super::{Fault, ServerTls, Store};

/// A ClientHello of which every part can be made invalid.
#[derive(Clone)]
struct Hello {
    version: u16,
    session: Vec<u8>,
    suites: Vec<u8>,
    compressions: Vec<u8>,
    extensions: Vec<(u16, Vec<u8>)>,
}

const NAME: u16 = 0;
const GROUPS: u16 = 10;
const POINT_FORMATS: u16 = 11;
const SIGNATURES: u16 = 13;
const ALPN: u16 = 16;
const VERSIONS: u16 = 43;
const SHARES: u16 = 51;
const RENEGOTIATION: u16 = 0xff01;

fn name(name: &str) -> Vec<u8> {
    let len = name.len() as u8;
    [&[0, len + 3, 0, 0, len], name.as_bytes()].concat()
}

fn share(len: u8) -> Vec<u8> {
    [&[0, len + 4, 0, 29, 0, len][..], &vec![9; usize::from(len)]].concat()
}

impl Hello {
    fn tls12() -> Self {
        Self {
            version: 0x0303,
            session: Vec::new(),
            suites: vec![0xc0, 0x2b],
            compressions: vec![0],
            extensions: vec![
                (NAME, name("a.test")),
                (GROUPS, vec![0, 4, 0, 29, 0, 23]),
                (SIGNATURES, vec![0, 4, 4, 3, 8, 4]),
            ],
        }
    }

    fn tls13() -> Self {
        let mut hello = Self { suites: vec![0x13, 1, 0x13, 2, 0xc0, 0x2b], ..Self::tls12() };
        hello.extensions.extend([(VERSIONS, vec![4, 3, 4, 3, 3]), (SHARES, share(32))]);
        hello
    }

    fn with(mut self, kind: u16, content: &[u8]) -> Self {
        self.extensions.retain(|(other, _)| *other != kind);
        self.extensions.push((kind, content.to_vec()));
        self
    }

    fn without(mut self, kind: u16) -> Self {
        self.extensions.retain(|(other, _)| *other != kind);
        self
    }

    fn extended(mut self, kind: u16, content: &[u8]) -> Self {
        self.extensions.push((kind, content.to_vec()));
        self
    }

    fn suites(self, suites: &[u8]) -> Self {
        Self { suites: suites.to_vec(), ..self }
    }

    fn version(self, version: u16) -> Self {
        Self { version, ..self }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = [&self.version.to_be_bytes()[..], &[7; 32], &[self.session.len() as u8]].concat();
        body.extend(&self.session);
        body.extend((self.suites.len() as u16).to_be_bytes());
        body.extend(&self.suites);
        body.push(self.compressions.len() as u8);
        body.extend(&self.compressions);
        let mut extensions = Vec::new();
        for (kind, content) in &self.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend((content.len() as u16).to_be_bytes());
            extensions.extend(content);
        }
        if !extensions.is_empty() {
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(&extensions);
        }
        body
    }

    fn record(&self) -> Vec<u8> {
        record(22, &message(1, &self.body()))
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    [&[kind, 3, 1, high, low], content].concat()
}

/// Passes these byte strings one after the other. Returns the fault, and the output after the last one.
fn told(store: &Store, all: &[&[u8]]) -> (Option<Fault>, Vec<u8>) {
    let mut connection = ServerTls::new(443);
    let mut said = Vec::new();
    for bytes in all {
        said = Vec::new();
        let mut bytes = bytes.to_vec();
        let mut at = 0;
        while at < bytes.len() {
            let done = connection.receive(&mut bytes[at..], true, Some(store));
            said.extend_from_slice(connection.output());
            connection.sent(usize::MAX / 2);
            at += done;
            if done == 0 && !connection.receive_gathered(Some(store)) {
                break;
            }
        }
    }
    (connection.fault(), said)
}

/// The alert, if it is all of the output.
fn alert(store: &Store, all: &[&[u8]]) -> Option<u8> {
    match told(store, all).1[..] {
        [21, 3, 3, 0, 2, 2, alert] => Some(alert),
        _ => None,
    }
}

#[test]
fn every_refused_hello_has_the_alert_that_says_why() {
    use Alert::*;
    let store = one(&Ca::new("ca"));
    let (new, old) = (Hello::tls13, Hello::tls12);
    let fallback = |hello: Hello| {
        let suites = [&hello.suites[..], &[0x56, 0]].concat();
        hello.suites(&suites)
    };
    let nothing = Hello { extensions: Vec::new(), ..old() };
    for (what, hello, expected) in [
        ("SSL 3", old().version(0x0300), ProtocolVersion),
        ("SSL 3 in a hello for TLS 1.3", new().version(0x0300), ProtocolVersion),
        ("SSL 2", old().version(0x0200), ProtocolVersion),
        ("TLS 1.0", old().version(0x0301), ProtocolVersion),
        ("TLS 1.1 with nothing that is newer", nothing.version(0x0302), ProtocolVersion),
        ("TLS 1.1 by name", old().with(VERSIONS, &[2, 3, 2]), ProtocolVersion),
        ("a version to come", old().with(VERSIONS, &[2, 3, 5]), ProtocolVersion),
        ("a fallback to TLS 1.2", fallback(old()), InappropriateFallback),
        ("the same by name", fallback(old().with(VERSIONS, &[2, 3, 3])), InappropriateFallback),
        ("a fallback too far", fallback(old().version(0x0302)), ProtocolVersion),
        ("renegotiation of nothing", old().with(RENEGOTIATION, &[2, 1, 2]), HandshakeFailure),
        ("the same in TLS 1.3", new().with(RENEGOTIATION, &[12; 13]), HandshakeFailure),
        ("renegotiation cut off", old().with(RENEGOTIATION, &[1]), DecodeError),
        ("renegotiation and more", old().with(RENEGOTIATION, &[0, 0]), DecodeError),
        ("no suite in common", new().suites(&[0x13, 0x99]), HandshakeFailure),
        ("no suite in common, TLS 1.2", old().suites(&[0, 0x2f]), HandshakeFailure),
        ("a suite for another key", old().suites(&[0xc0, 0x2f]), HandshakeFailure),
        ("no signature in common", new().with(SIGNATURES, &[0, 2, 8, 4]), HandshakeFailure),
        ("no signature in common, TLS 1.2", old().with(SIGNATURES, &[0, 2, 4, 1]), HandshakeFailure),
        ("no group in common", new().with(GROUPS, &[0, 2, 0x99, 0x99]), HandshakeFailure),
        ("no group in common, TLS 1.2", old().with(GROUPS, &[0, 2, 0x99, 0x99]), HandshakeFailure),
        ("no signatures named", new().without(SIGNATURES), MissingExtension),
        ("no signatures named, TLS 1.2", old().without(SIGNATURES), HandshakeFailure),
        ("no groups named", new().without(GROUPS), MissingExtension),
        ("no key shared", new().without(SHARES), MissingExtension),
        ("an unknown name", new().with(NAME, &name("b.test")), UnrecognizedName),
        ("no name", new().without(NAME), UnrecognizedName),
        ("an extension twice", new().extended(GROUPS, &[0, 2, 0, 29]), IllegalParameter),
        ("an unknown one twice", new().extended(999, b"").extended(999, b""), IllegalParameter),
        ("a session id too long", Hello { session: vec![1; 33], ..new() }, DecodeError),
        ("half a suite", new().suites(&[0x13, 1, 0x13]), DecodeError),
        ("no suites", new().suites(&[]), DecodeError),
        ("no compression", Hello { compressions: vec![], ..old() }, DecodeError),
        ("compression only", Hello { compressions: vec![1], ..old() }, IllegalParameter),
        ("compression only, TLS 1.3", Hello { compressions: vec![1], ..new() }, IllegalParameter),
        ("compression too, TLS 1.3", Hello { compressions: vec![1, 0], ..new() }, IllegalParameter),
        ("compressed points only", old().with(POINT_FORMATS, &[1, 1]), IllegalParameter),
        ("a key too short", new().with(SHARES, &share(31)), IllegalParameter),
        ("versions that do not end", new().with(VERSIONS, &[8, 3, 4]), DecodeError),
        ("half a version", new().with(VERSIONS, &[3, 3, 4, 3]), DecodeError),
        ("a name that does not end", new().with(NAME, &[0, 9, 0, 0, 6, b'a']), DecodeError),
        ("groups that do not end", new().with(GROUPS, &[0, 9, 0, 29]), DecodeError),
    ] {
        let said = told(&store, &[&hello.record()]);
        assert_eq!(alert(&store, &[&hello.record()]), Some(expected as u8), "{what}: {said:?}");
        assert!(matches!(said.0, Some(Fault::Handshake | Fault::UnknownName)), "{what}: {said:?}");
    }
    // no_application_protocol, which only rustls sends; encrypted in TLS 1.3.
    assert_eq!(alert(&store, &[&old().with(ALPN, b"\0\x07\x06spdy/3").record()]), Some(120));
    for (what, hello) in [
        ("TLS 1.3", new()),
        ("TLS 1.2", old()),
        ("TLS 1.2 by name", old().with(VERSIONS, &[2, 3, 3])),
        ("an unused way to fall back", fallback(new())),
        ("an empty renegotiation_info", old().with(RENEGOTIATION, &[0])),
        ("old versions too", new().with(VERSIONS, &[8, 3, 0, 3, 1, 3, 2, 3, 4]).version(0x0301)),
        ("unknown versions as well", new().with(VERSIONS, &[6, 0x9a, 0x9a, 3, 3, 3, 4])),
    ] {
        let said = told(&store, &[&hello.record()]);
        assert_eq!((said.0, said.1.first()), (None, Some(&22)), "{what}: {said:?}");
    }
}

#[test]
fn a_hello_with_a_wrong_length_is_a_decode_error() {
    let store = one(&Ca::new("ca"));
    for hello in [Hello::tls13(), Hello::tls12()] {
        let body = hello.body();
        for len in 0..body.len() {
            // TLS 1.2 may end before the extensions, and then names no host.
            let bare = len == 2 + 32 + 1 + 2 + hello.suites.len() + 2;
            let expected = if bare { Alert::UnrecognizedName } else { Alert::DecodeError };
            let cut = record(22, &message(1, &body[..len]));
            assert_eq!(alert(&store, &[&cut]), Some(expected as u8), "{len} of {} bytes", body.len());
        }
        let more = record(22, &message(1, &[&body[..], &[0]].concat()));
        assert_eq!(alert(&store, &[&more]), Some(Alert::DecodeError as u8));
    }
}

#[test]
fn every_record_out_of_place_has_the_alert_that_says_why() {
    use Alert::*;
    let store = one(&Ca::new("ca"));
    let hello = Hello::tls13().record();
    let half = record(22, &hello[5..60]);
    let oversized = [&[22, 3, 1, 0x40, 1][..], &[1; 100]].concat();
    for (what, bytes, expected) in [
        ("an empty one", vec![22, 3, 1, 0, 0], DecodeError),
        ("a longer one than there are", oversized, RecordOverflow),
        ("another message", record(22, &message(20, &[0; 12])), UnexpectedMessage),
        ("a broken other message", record(22, &[2, 0, 0, 1, 0]), UnexpectedMessage),
        ("another kind of record", record(24, &[1, 0, 1, 0]), UnexpectedMessage),
        ("an unknown kind of record", record(99, &[1]), UnexpectedMessage),
        ("change_cipher_spec", record(20, &[1]), UnexpectedMessage),
        ("data", record(23, b"GET / HTTP/1.1"), UnexpectedMessage),
        ("an alert", record(21, &[2, 40]), UnexpectedMessage),
        ("change_cipher_spec amid the hello", [&half[..], &record(20, &[1])].concat(), UnexpectedMessage),
        ("data amid the hello", [&half[..], &record(23, &[1; 9])].concat(), UnexpectedMessage),
        ("nothing amid the hello", [&half[..], &record(22, &[])].concat(), DecodeError),
        (
            "a message behind the hello",
            record(22, &[&hello[5..], &[20, 0, 0, 0]].concat()),
            UnexpectedMessage,
        ),
        ("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(), ProtocolVersion),
        ("SSL 2 with TLS in it", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10".to_vec(), ProtocolVersion),
    ] {
        assert_eq!(alert(&store, &[&bytes]), Some(expected as u8), "{what}: {:?}", told(&store, &[&bytes]));
    }
}

#[test]
fn refusals_of_rustls_have_the_right_alert() {
    use Alert::*;
    let store = one(&Ca::new("ca"));
    let hello = Hello::tls12().record();
    let key = record(22, &message(16, &[32; 33])[..9]);
    for (what, bytes, expected) in [
        ("a record amid a message", [&key[..], &record(20, &[1])].concat(), UnexpectedMessage),
        ("an unknown kind of record", record(99, &[1]), UnexpectedMessage),
        ("a longer record than there are", vec![22, 3, 3, 0x7f, 0xff, 0], RecordOverflow),
    ] {
        assert_eq!(alert(&store, &[&hello, &bytes]), Some(expected as u8), "{what}");
    }
    // The second hello has another name than the first.
    let retry = Hello::tls13().with(SHARES, &[0, 0]);
    let other = Hello::tls13().with(NAME, &name("b.test"));
    let said = alert(&store, &[&retry.record(), &other.record()]);
    assert_eq!(said, Some(IllegalParameter as u8));
    // An alert is not answered with an alert.
    let (fault, said) = told(&store, &[&hello, &record(21, &[2, 40])]);
    assert_eq!((fault, said), (Some(Fault::Handshake), Vec::new()));
}

#[test]
fn a_cancelled_handshake_sends_alerts_while_it_can() {
    let store = one(&Ca::new("ca"));
    let canceled = [21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0];
    for (hello, can) in [(Hello::tls12(), true), (Hello::tls13(), false)] {
        let mut connection = ServerTls::new(443);
        connection.receive(&mut hello.record(), false, Some(&store));
        connection.sent(usize::MAX / 2);
        assert_eq!(connection.cancel(), can);
        assert_eq!(connection.output(), if can { &canceled[..] } else { &[] });
    }
    let mut connection = ServerTls::new(443);
    assert!(connection.cancel());
    assert_eq!(connection.output(), canceled);
}
