use super::*;
use crate::settings::{Handler, Prefix, Site};

fn sample() -> Vec<u8> {
    let settings = Settings {
        sites: vec![Site {
            name: "demo".into(),
            prefixes: vec![Prefix {
                url: "http://*:80/".into(),
                handler: Handler::Files(0),
                client_certificates: None,
                passthrough: Default::default(),
            }],
            ..Site::default()
        }],
        ..Settings::default()
    };
    let source = |path: &str, content: &[u8]| Source {
        file: File {
            tree: 0,
            path: path.into(),
            media_type: "text/plain".into(),
            etag: "\"1\"".into(),
            last_modified: 1,
            offset: 0,
            len: 0,
        },
        content: content.to_vec(),
    };
    encode(&settings, vec![source("b", b"second"), source("a", b"first")])
}

#[test]
fn files_and_settings_come_back() {
    let bytes = sample();
    let bundle = Bundle::parse(&bytes).unwrap();
    assert_eq!(bundle.manifest.settings.sites[0].name, "demo");
    let contents: Vec<_> =
        bundle.manifest.files.iter().map(|f| (f.path.as_str(), bundle.content(f).unwrap())).collect();
    assert_eq!(contents, [("a", &b"first"[..]), ("b", &b"second"[..])]);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = sample();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Bundle::parse(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = sample();
    for len in 0..bytes.len() {
        assert!(Bundle::parse(&bytes[..len]).is_err(), "length {len}");
    }
}

#[test]
fn a_newer_version_says_so() {
    let mut bytes = sample();
    bytes[8] = 9;
    assert_eq!(Bundle::parse(&bytes).unwrap_err(), BundleError::Version(9));
}
