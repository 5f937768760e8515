//! Which files of a directory are served, and their metadata.

use super::*;
use std::os::unix::fs::symlink;

fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path().canonicalize().expect("exists").join("root");
    for (path, content) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("directory");
        std::fs::write(path, content).expect("file");
    }
    (dir, root)
}

#[test]
fn files_are_sorted_and_hidden_ones_left_out() {
    let files =
        [("b.html", ""), ("a/z", ""), ("a.css", ""), (".git/x", ""), (".env", ""), (".well-known/y", "")];
    let (_dir, root) = tree(&files);
    let found: Vec<_> = walk(&root).expect("readable").into_keys().collect();
    assert_eq!(found, [".well-known/y", "a.css", "a/z", "b.html"]);
}

#[test]
fn links_stay_inside() {
    let (_dir, root) = tree(&[("a", "content"), ("d/b", "")]);
    symlink("a", root.join("inside")).expect("link");
    symlink("d", root.join("e")).expect("link");
    let found: Vec<_> = walk(&root).expect("readable").into_keys().collect();
    assert_eq!(found, ["a", "d/b", "e/b", "inside"]);
    symlink("..", root.join("d/up")).expect("link");
    assert_eq!(walk(&root), Err(FilesError::Loop(root.join("d/up"))));
    std::fs::remove_file(root.join("d/up")).expect("link");
    symlink("/etc/passwd", root.join("out")).expect("link");
    assert_eq!(walk(&root), Err(FilesError::Escapes(root.join("out"))));
}

#[test]
fn a_file_is_described() {
    let (_dir, root) = tree(&[("index.html", "abc")]);
    let [source] = &read(7, &root).expect("readable")[..] else { panic!("one file") };
    // The SHA-256 of "abc" begins like this.
    assert_eq!(source.file.etag, "\"ba7816bf8f01cfea\"");
    assert_eq!(source.file.media_type, "text/html; charset=utf-8");
    assert_eq!((source.file.tree, source.file.path.as_str(), source.file.len), (7, "index.html", 3));
    assert!(source.file.last_modified > 1_600_000_000);
}

#[test]
fn media_types() {
    for (path, expected) in [
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.PNG", "image/png"),
        ("a.wasm", "application/wasm"),
        ("1m.bin", "application/octet-stream"),
        ("128", "application/octet-stream"),
    ] {
        assert_eq!(media_type(path), expected);
    }
}

#[test]
fn a_clean_work_tree_has_the_time_of_its_commit() {
    let (_dir, root) = tree(&[("a", "a")]);
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&root).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(args);
        command.env("GIT_COMMITTER_DATE", "@1234567890 +0000");
        ask(&mut command).unwrap_or_else(|| panic!("git {args:?}"))
    };
    if std::env::var_os("SOURCE_DATE_EPOCH").is_some() {
        return;
    }
    git(&["init", "-q"]);
    assert_eq!(common_time(&root), None);
    git(&["add", "a"]);
    git(&["commit", "-q", "-m", "a"]);
    assert_eq!(common_time(&root), Some(1_234_567_890));
    std::fs::write(root.join("a"), "b").expect("file");
    assert_eq!(common_time(&root), None);
}
