//! Which certificate is shown for which name, and what no store is made of.

use super::*;

#[test]
fn names_select_sites() {
    let ca = Ca::new("ca");
    let tls = |name: &str| with(vec![ca.certificate(name, &rcgen::PKCS_ECDSA_P256_SHA256)]);
    let store = store_of(vec![
        site("exact", &["A.test"], tls("a.test")),
        site("wild", &["*.w.test"], tls("*.w.test")),
        site("deeper", &["*.x.w.test"], tls("*.x.w.test")),
        site("default", &["*"], tls("default.test")),
    ])
    .unwrap();
    for (name, expected) in [
        (Some("a.test"), 0),
        (Some("A.TEST."), 0),
        (Some("b.w.test"), 1),
        (Some("b.x.w.test"), 2),
        (Some("w.test"), 3),
        (Some("other"), 3),
        (None, 3),
    ] {
        assert_eq!(store.select(443, name.map(str::as_bytes)), Some(SiteId(expected)), "{name:?}");
    }
    assert_eq!(store.select(444, Some(b"a.test")), None);
    let mut client = Client::new(&ca).connect("b.x.w.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    link.run(&mut client, &store).unwrap();
    assert_eq!(link.server.site(), SiteId(2));
}

#[test]
fn an_unknown_name_is_told_so() {
    let ca = Ca::new("ca");
    let store = one(&ca);
    let mut client = Client::new(&ca).connect("b.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    let error = link.run(&mut client, &store).unwrap_err();
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName));
    assert_eq!(link.server.fault(), Some(Fault::UnknownName));
}

#[test]
fn the_first_certificate_that_suits_is_used() {
    let ca = Ca::new("ca");
    let (ed, ec) = (&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256);
    let certificates = vec![ca.certificate("a.test", ed), ca.certificate("a.test", ec)];
    let expected = certificates[1].chain[0].clone();
    let store = store_of(vec![site("a", &["a.test"], with(certificates))]).unwrap();
    // A client that cannot verify Ed25519.
    let mut config = Client::new(&ca);
    let mut provider = rustls::crypto::ring::default_provider();
    let all: &'static [_] = Box::leak(Box::new([webpki_ec()]));
    let mapping: &'static [_] = Box::leak(Box::new([(rustls::SignatureScheme::ECDSA_NISTP256_SHA256, all)]));
    provider.signature_verification_algorithms = rustls::crypto::WebPkiSupportedAlgorithms { all, mapping };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.der.clone())).unwrap();
    config.0 = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = config.connect("a.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    link.run(&mut client, &store).unwrap();
    assert_eq!(client.peer_certificates().unwrap()[0].as_ref(), expected);
}

/// The certificate that a site presents to a client that accepts any.
fn shown(store: &Store, ca: &Ca) -> Vec<u8> {
    let mut client = Client::new(ca).connect("a.test");
    Link::new(16 << 10, usize::MAX).run(&mut client, store).unwrap();
    client.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_new_certificate_replaces_those_with_its_kind_of_key_alone() {
    let ca = Ca::new("ca");
    let (ed, ec) = (&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256);
    let [old_ec, old_ed, new_ec, new_ed] = [ec, ed, ec, ed].map(|kind| ca.certificate("a.test", kind));
    let first = |c: &Certificate| c.chain[0].clone();
    let mut store =
        store_of(vec![site("a", &["a.test"], with(vec![old_ec.clone(), old_ed.clone()]))]).unwrap();
    // By position, and by what is presented when the other one is removed.
    store.set_certificates(SiteId(0), core::slice::from_ref(&new_ec)).unwrap();
    assert_eq!(shown(&store, &ca), first(&new_ec));
    assert_eq!(store.expires(SiteId(0)).len(), 2, "the other kind is still there");
    store.set_certificates(SiteId(0), core::slice::from_ref(&new_ed)).unwrap();
    assert_eq!((shown(&store, &ca), store.expires(SiteId(0)).len()), (first(&new_ec), 2));
    let mut store = store_of(vec![site("a", &["a.test"], with(vec![old_ed]))]).unwrap();
    store.set_certificates(SiteId(0), &[old_ec, new_ed.clone()]).unwrap();
    assert_eq!((shown(&store, &ca), store.expires(SiteId(0)).len()), (first(&new_ed), 2));
}

#[test]
fn a_staple_is_handed_out() {
    let ca = Ca::new("ca");
    let mut certificate = ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    certificate.ocsp = Some(b"response".to_vec());
    let store = store_of(vec![site("a", &["a.test"], with(vec![certificate]))]).unwrap();
    let mut client = Client::versions(&ca, &[&rustls::version::TLS12], None).connect("a.test");
    let mut link = Link::new(16 << 10, usize::MAX);
    // rustls's client requests it; in TLS 1.2 it is sent in plaintext.
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    link.arrive(&hello, &store);
    assert!(link.server.output().windows(8).any(|w| w == b"response"));
}

#[test]
fn mismatched_settings_are_refused() {
    let ca = Ca::new("ca");
    let good = ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    let other = ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256);
    let refusal =
        |certificate: Certificate| store_of(vec![site("a", &["a.test"], with(vec![certificate]))]).err();
    assert_eq!(refusal(Certificate { key: other.key, ..good.clone() }), Some(TlsError::KeyMismatch));
    let no_key = Key::Der(Secret::new(vec![1, 2, 3]));
    assert_eq!(refusal(Certificate { key: no_key, ..good.clone() }), Some(TlsError::Key));
    assert_eq!(
        refusal(Certificate { key: Key::Handed("k".into()), ..good.clone() }),
        Some(TlsError::KeyMissing)
    );
    assert_eq!(store_of(vec![site("a", &["a.test"], with(vec![]))]).err(), Some(TlsError::NoCertificate));
    let anchors = Tls { client_certificates: ClientCertificates::Require, ..with(vec![good.clone()]) };
    assert_eq!(store_of(vec![site("a", &["a.test"], anchors)]).err(), Some(TlsError::ClientAnchors));
    assert_eq!(format!("{:?}", good.key), "Der((secret))");
}

#[derive(Debug)]
struct NoRandom;

impl rustls::crypto::SecureRandom for NoRandom {
    fn fill(&self, _: &mut [u8]) -> Result<(), rustls::crypto::GetRandomFailed> {
        Err(rustls::crypto::GetRandomFailed)
    }
}

#[test]
fn without_random_bytes_there_is_no_store() {
    let ca = Ca::new("ca");
    let tls = with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)]);
    let settings = Settings { sites: vec![site("a", &["a.test"], tls)], ..Settings::default() };
    let mut provider = rustls::crypto::ring::default_provider();
    provider.secure_random = &NoRandom;
    let store = Store::with_provider(&settings, Keys::NONE, Arc::default(), Arc::new(provider));
    assert_eq!(store.err(), Some(TlsError::Entropy));
}
