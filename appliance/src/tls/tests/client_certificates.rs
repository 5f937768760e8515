//! What clients' certificates are worth.

use super::*;

/// The status of a client with this certificate at a store whose only site requests client certificates.
fn judged(tls: Tls, ca: &Ca, auth: Option<(Vec<u8>, KeyPair)>) -> ClientStatus {
    let store = store_of(vec![site("a", &["a.test"], tls)]).unwrap();
    let mut status = ClientStatus::None;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let key =
            auth.as_ref().map(|(der, key)| (der.clone(), KeyPair::try_from(key.serialize_der()).unwrap()));
        let client = Client::versions(ca, &[version], key);
        // The second time with a ticket: the certificate is remembered and verified again.
        for _ in 0..2 {
            let mut connection = client.connect("a.test");
            let mut link = Link::new(16 << 10, usize::MAX);
            link.run(&mut connection, &store).unwrap();
            assert!(link.server.is_open(), "{:?}", link.server.fault());
            status = link.server.client().map_or(ClientStatus::None, |client| client.status);
            if let Some(client) = link.server.client() {
                let fields = core::str::from_utf8(client.fields()).unwrap();
                assert_eq!(fields.contains("Subject"), status == ClientStatus::Verified, "{fields}");
                assert!(fields.ends_with("\r\n"));
            }
        }
    }
    status
}

#[test]
fn client_certificates_are_judged_after_the_handshake() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let tls = || Tls {
        client_certificates: ClientCertificates::Require,
        client_anchors: vec![ca.der.clone()],
        ..with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)])
    };
    let client = |ca: &Ca, edit: fn(&mut CertificateParams)| {
        let key = KeyPair::generate().unwrap();
        Some((ca.issue("client.test", &key, edit), key))
    };
    assert_eq!(judged(tls(), &ca, None), ClientStatus::None);
    assert_eq!(judged(tls(), &ca, client(&ca, |_| {})), ClientStatus::Verified);
    assert_eq!(judged(tls(), &ca, client(&other, |_| {})), ClientStatus::Untrusted);
    let expired = client(&ca, |p| p.not_after = rcgen::date_time_ymd(2021, 1, 1));
    assert_eq!(judged(tls(), &ca, expired), ClientStatus::Expired);
    let future = client(&ca, |p| p.not_before = rcgen::date_time_ymd(2039, 1, 1));
    assert_eq!(judged(tls(), &ca, future), ClientStatus::Expired);
    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["client.test".into()]).unwrap();
        Some((params.self_signed(&key).unwrap().der().to_vec(), key))
    };
    assert_eq!(judged(tls(), &ca, self_signed), ClientStatus::Untrusted);
}

#[test]
fn revoked_client_certificates() {
    let ca = Ca::new("ca");
    let crl = |serial: &[u8]| {
        let revoked = rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2039, 1, 1),
            crl_number: rcgen::SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&Issuer::from_params(&ca.params, &ca.key)).unwrap().der().to_vec()
    };
    for (revoked, expected) in [(&[7][..], ClientStatus::Revoked), (&[8], ClientStatus::Verified)] {
        let tls = Tls {
            client_certificates: ClientCertificates::Request,
            client_anchors: vec![ca.der.clone()],
            client_crls: vec![crl(revoked)],
            ..with(vec![ca.certificate("a.test", &rcgen::PKCS_ECDSA_P256_SHA256)])
        };
        let key = KeyPair::generate().unwrap();
        let der =
            ca.issue("client.test", &key, |p| p.serial_number = Some(rcgen::SerialNumber::from_slice(&[7])));
        assert_eq!(judged(tls, &ca, Some((der, key))), expected);
    }
}
