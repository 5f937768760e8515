//! Development certificates: issued once, never replacing others' files.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn nobody_elses_authority_or_key_is_overwritten() {
    for name in ["ca.key", "ca.pem"] {
        let dir = tempfile::tempdir().expect("a directory");
        let mine = dir.path().join(name);
        std::fs::write(&mine, "mine").expect("written");
        let refused = dev(dir.path(), &["localhost".to_owned()]).expect_err("not ours");
        assert!(refused.to_string().contains(name), "{refused}");
        assert_eq!(std::fs::read(&mine).expect("a file"), b"mine");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let made = dev(dir.path(), &["localhost".to_owned()]).expect("made");
    std::fs::write(&made.chain, "mine").expect("written");
    assert!(dev(dir.path(), &["localhost".to_owned()]).is_err());
    let keys = [format!("a={}", made.key.display())];
    assert!(write_keys(&keys, &made.key).is_err());
    write_keys(&keys, &dir.path().join("keys")).expect("written");
    write_keys(&keys, &dir.path().join("keys")).expect("written again");
    assert!(private::is(&dir.path().join("keys")));
}

#[test]
fn a_key_is_replaced_by_none_and_another_ones_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let names = ["localhost".to_owned()];
    let made = dev(dir.path(), &names).expect("made");
    let authority = dir.path().join("ca.key");
    let mine = KeyPair::generate().expect("random bytes").serialize_pem();
    for key in [&made.key, &authority] {
        let ours = std::fs::read(key).expect("a key");
        std::fs::remove_file(key).expect("removed");
        private::write(key, mine.as_bytes()).expect("written");
        let refused = dev(dir.path(), &names).expect_err("not ours").to_string();
        assert!(refused.contains("not the key of") && !refused.contains('\n'), "{refused}");
        assert_eq!(std::fs::read_to_string(key).expect("a key"), mine);
        // A link to it is neither followed nor replaced.
        let elsewhere = dir.path().join("elsewhere");
        std::fs::rename(key, &elsewhere).expect("moved");
        std::os::unix::fs::symlink(&elsewhere, key).expect("linked");
        let refused = dev(dir.path(), &names).expect_err("a link").to_string();
        assert!(refused.contains("is a symbolic link"), "{refused}");
        std::fs::remove_file(key).expect("removed");
        private::write(key, &ours).expect("written");
    }
    // A certificate about to expire is reissued for the existing key.
    let old = std::fs::read(&made.key).expect("a key");
    let mut params = CertificateParams::new(vec![names[0].clone()]).expect("a name");
    params.not_after = params.not_before + time::Duration::days(1);
    let (authority, own) = (read_key(&authority), read_key(&made.key));
    let ending = params.signed_by(&own, &Issuer::from_params(&ca_params().expect("a name"), &authority));
    let ending = ending.expect("signed").pem();
    private::write(&made.chain, ending.as_bytes()).expect("written");
    dev(dir.path(), &names).expect("made anew");
    assert_ne!(std::fs::read_to_string(&made.chain).expect("a file"), ending);
    assert_eq!(std::fs::read(&made.key).expect("a key"), old);
    load(&made.chain, &made.key, None).expect("they belong together");
}

fn read_key(path: &Path) -> KeyPair {
    KeyPair::from_pem(&std::fs::read_to_string(path).expect("a file")).expect("a key")
}

#[test]
fn made_once_and_for_its_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let first = dev(dir.path(), &names(&["localhost", "127.0.0.1"])).expect("made");
    let read = |path: &Path| std::fs::read(path).expect("a file");
    let (ca, chain) = (read(&first.ca), read(&first.chain));
    assert_eq!(dev(dir.path(), &names(&["localhost", "127.0.0.1"])).expect("kept"), first);
    let other = dev(dir.path(), &names(&["*.weir.test"])).expect("made");
    assert_ne!(other.chain, first.chain);
    assert_eq!((read(&first.ca), read(&first.chain)), (ca, chain));
    let mode = std::fs::metadata(&first.key).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(dev(dir.path(), &[]).is_err());
    assert!(dev(dir.path(), &names(&["b\u{fc}cher"])).is_err());
}
