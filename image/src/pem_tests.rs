//! PEM files as users provide them, and the messages about them, which never contain any part of a key.

use super::*;
use rcgen::{CertificateParams, KeyPair};

struct Pair {
    certificate: String,
    key: String,
    der: Vec<u8>,
}

fn pair() -> Pair {
    let key = KeyPair::generate().expect("random bytes");
    let params = CertificateParams::new(vec!["a.test".into()]).expect("a host name");
    let certificate = params.self_signed(&key).expect("a key that signs");
    Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: key.serialize_der() }
}

#[test]
fn any_line_ends_and_byte_order_mark() {
    let Pair { certificate, key, der } = pair();
    for edit in [
        |text: &str| text.to_owned(),
        |text: &str| format!("\u{feff}{text}"),
        |text: &str| text.replace('\n', "\r\n"),
        |text: &str| text.replace('\n', "\r"),
        |text: &str| text.replace('\n', "\n    "),
        |text: &str| {
            format!(
                "\u{feff}Bag Attributes\n  friendlyName: b\u{fc}cher\n{}\r\n",
                text.replace('\n', " \r\n")
            )
        },
    ] {
        assert_eq!(super::key(edit(&key).as_bytes()).expect("a key").expose(), der);
        assert_eq!(certificates(edit(&certificate).as_bytes()).expect("a certificate").len(), 1);
    }
    let both = format!("{key}{certificate}{certificate}");
    assert_eq!(certificates(both.as_bytes()).expect("two").len(), 2);
    assert_eq!(super::key(both.as_bytes()).expect("a key beside certificates").expose(), der);
}

#[test]
fn what_is_wrong_is_said_and_how_to_mend_it() {
    let Pair { certificate, key, der } = pair();
    let label = |new: &str| key.replace("PRIVATE KEY", new);
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b" \r\n".to_vec(), "empty"),
        (key.replace('\n', "").into(), "its line ends are lost"),
        (key.replace('\n', " ").into(), "its line ends are lost"),
        (key.replace('\n', "\\n").into(), "its line ends are lost"),
        (key.replacen('\n', "", 1).into(), "its line ends are lost"),
        (key.replace("-----END PRIVATE KEY-----", "").into(), "truncated before"),
        (key[..key.len() / 2].into(), "truncated before"),
        (key.replacen('M', "!", 1).into(), "damaged between"),
        (
            label("ENCRYPTED PRIVATE KEY").into(),
            "an encrypted private key, expected one without a passphrase: openssl pkey -in",
        ),
        (
            label("RSA PRIVATE KEY")
                .replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1)
                .into(),
            "an encrypted private key",
        ),
        (format!("{key}{key}").into(), "2 private keys, expected one"),
        (
            certificate.clone().into(),
            "a certificate, expected a private key in PEM; are `chain` and `key` swapped?",
        ),
        (label("CERTIFICATE REQUEST").into(), "a certificate request"),
        (label("PUBLIC KEY").into(), "a public key"),
        (label("OPENSSH PRIVATE KEY").into(), "a key in OpenSSH format"),
        (der.clone(), "in DER, expected a private key in PEM: openssl pkey -inform DER"),
        ([&[0x30, 0x82, 9, 0x7a, 2, 1, 3, 0x30, 0x82], &der[..]].concat(), "in PKCS #12"),
        ([&[0xff, 0xfe][..], &utf16(&key)].concat(), "UTF-16"),
        (key.lines().skip(1).collect::<Vec<_>>().join("\n").into(), "nothing of that kind found"),
        (b"password = \"secret\"".to_vec(), "nothing of that kind found"),
    ];
    let body: Vec<&str> = key.lines().filter(|line| !line.starts_with('-')).collect();
    for (file, expected) in cases {
        let error = super::key(&file).map(|_| ()).expect_err(expected).to_string();
        assert!(error.starts_with(expected) && error.contains("expected"), "{error}");
        assert!(!error.contains('\n') && !body.iter().any(|line| error.contains(&line[..8])), "{error}");
    }
    let error = |bytes: &[u8]| certificates(bytes).map(|_| ()).expect_err("no certificate").to_string();
    assert!(error(key.as_bytes()).starts_with("a private key, expected certificates in PEM; are"));
    assert!(error(certificate.replace('\n', "").as_bytes()).starts_with("its line ends are lost"));
    assert!(error(label("PKCS7").as_bytes()).contains("openssl pkcs7 -print_certs"));
    assert!(
        crls(certificate.as_bytes()).is_err_and(|e| e.to_string().starts_with("a certificate, expected rev"))
    );
}
