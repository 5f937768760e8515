//! Ownership of socket paths.

use super::*;
use std::os::unix::fs::MetadataExt as _;
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn refused(path: &Path) -> String {
    OwnSocket::bind(path, &Access::default()).expect_err("it is not ours").to_string()
}

#[test]
fn what_is_not_a_socket_of_ours_stays_as_it_is() {
    let directory = TempDir::new().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("app.toml"), "[[site]]\n").expect("written");
    std::fs::create_dir(at("directory")).expect("made");
    std::os::unix::fs::symlink(at("app.toml"), at("link")).expect("linked");
    // Nothing listens there any more, but it is not ours.
    drop(UnixListener::bind(at("other")).expect("bound"));
    let listening = UnixListener::bind(at("listening")).expect("bound");
    for name in ["app.toml", "directory", "link", "other", "listening"] {
        let before = std::fs::symlink_metadata(at(name)).expect("it is there").ino();
        let line = refused(&at(name));
        assert!(line.contains("choose another path") && !line.contains('\n'), "{line}");
        assert_eq!(std::fs::symlink_metadata(at(name)).expect("it is still there").ino(), before);
        assert!(!at(&format!("{name}.lock")).exists(), "{name}: nothing of ours is left");
    }
    assert_eq!(std::fs::read_to_string(at("app.toml")).expect("a file"), "[[site]]\n");
    drop(listening);
    std::fs::write(at("mine.lock"), "mine").expect("written");
    assert!(refused(&at("mine")).contains("mine.lock"));
    assert_eq!(std::fs::read(at("mine.lock")).expect("a file"), b"mine");
}

#[test]
fn one_that_was_killed_is_followed_and_one_that_runs_is_not() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("control");
    let first = OwnSocket::bind(&path, &Access::default()).expect("bound");
    assert_eq!((mode(&path), mode(&directory.path().join("control.lock"))), (0o600, 0o600));
    assert!(refused(&path).ends_with("another supervisor listens there"));
    // As left by a killed process: the files exist, the descriptors are closed.
    let mut first = std::mem::ManuallyDrop::new(first);
    first._lock.file = File::open("/dev/null").expect("/dev/null");
    first.listener = UnixListener::bind(directory.path().join("elsewhere")).expect("bound");
    let second = OwnSocket::bind(&path, &Access { mode: Some(0o666), group: None }).expect("bound");
    assert_eq!(mode(&path), 0o666);
    UnixStream::connect(&path).expect("it listens");
    drop(second);
    assert!(!path.exists() && !directory.path().join("control.lock").exists());
}

#[test]
fn what_has_taken_its_place_is_not_removed() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("control");
    let socket = OwnSocket::bind(&path, &Access::default()).expect("bound");
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, "mine").expect("written");
    drop(socket);
    assert_eq!(std::fs::read(&path).expect("a file"), b"mine");
}

#[test]
fn groups_and_modes() {
    assert_eq!(parse_mode("0660"), Ok(0o660));
    for bad in ["", "0", "66x", "7777", "0060", "-1", "0460"] {
        assert!(parse_mode(bad).is_err(), "{bad}");
    }
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("control");
    let group = Some("no-such-group-here".to_owned());
    let error = OwnSocket::bind(&path, &Access { mode: None, group }).expect_err("no such group");
    assert!(error.to_string().contains("no such group"), "{error}");
    assert!(!path.exists());
    if rustix::process::getuid().is_root() {
        let access = Access { mode: None, group: Some("daemon".to_owned()) };
        let _socket = OwnSocket::bind(&path, &access).expect("bound");
        assert_eq!(mode(&path), 0o660);
        assert_ne!(std::fs::metadata(&path).expect("it is there").gid(), 0);
    }
}
