//! File modes, and removal of leftovers.

use super::*;
use std::path::PathBuf;

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("it is there").mode() & 0o777
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn what_is_written_is_its_owners_alone_whatever_was_there() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("a/b/key");
    write(&file, b"one").expect("written");
    assert_eq!(
        (mode(&file), mode(&directory.path().join("a")), mode(&directory.path().join("a/b"))),
        (0o600, 0o700, 0o700)
    );
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("changed");
    assert!(!is(&file));
    write(&file, b"two").expect("written");
    assert!(is(&file) && std::fs::read(&file).expect("a file") == b"two");
    assert_eq!(entries(&directory.path().join("a/b")), [file], "nothing else is left");
}

#[test]
fn an_artifact_that_others_could_read_is_written_anew() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("image");
    std::fs::write(&file, "same").expect("written");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("changed");
    crate::Artifact::write(&file, b"same").expect("written");
    assert!(is(&file));
}

#[test]
fn scratch_directories_of_the_dead_are_removed_and_nothing_else() {
    let parent = TempDir::new().expect("a directory");
    let alive = Scratch::new(parent.path(), ".weir-").expect("made");
    assert_eq!(mode(alive.path()), 0o700);
    // As left by a killed process: it exists, and its lock is free.
    let Scratch { directory, _lock } = Scratch::new(parent.path(), ".weir-").expect("made");
    let dead = directory.keep();
    std::fs::write(dead.join("image"), "with a key").expect("written");
    drop(_lock);
    let others = [".weir-notes1", ".weir-abcdef", ".weir-toolong", "weir-abcdef"].map(|name| {
        let path = parent.path().join(name);
        create_dir_all(&path).expect("made");
        path
    });
    // The right name and mark, but the mark's content is someone else's.
    std::fs::write(others[1].join(MARK), "mine").expect("written");
    let link = parent.path().join(".weir-linked");
    std::os::unix::fs::symlink(&others[3], &link).expect("linked");
    drop(Scratch::new(parent.path(), ".weir-").expect("made"));
    assert!(!dead.exists());
    assert!(alive.path().is_dir() && others.iter().all(|path| path.is_dir()) && link.is_symlink());
}
