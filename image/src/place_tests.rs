//! One of each kind of file, and the effect of each operation on it.

use super::*;
use crate::private;
use std::os::unix::net::UnixListener;

/// All kinds of files except devices, which only root can create; `/dev/null` represents them.
fn everything(directory: &Path) -> Vec<PathBuf> {
    let at = |name: &str| directory.join(name);
    std::fs::write(at("file"), "mine").expect("written");
    std::fs::create_dir(at("directory")).expect("made");
    std::fs::write(at("directory/file"), "mine").expect("written");
    std::os::unix::fs::symlink(at("file"), at("link")).expect("linked");
    std::os::unix::fs::symlink(at("nothing"), at("dangling")).expect("linked");
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    drop(UnixListener::bind(at("socket")).expect("bound"));
    let names = ["file", "directory", "link", "dangling", "fifo", "socket"].map(at);
    names.into_iter().chain([PathBuf::from("/dev/null")]).collect()
}

fn identity_of(path: &Path) -> (u64, u64) {
    identity(&std::fs::symlink_metadata(path).expect("it is there"))
}

/// Fails if `does` succeeds for anything but a regular file, or changes it.
fn only_at_files(does: impl Fn(&Path) -> std::result::Result<(), String>) {
    let directory = tempfile::tempdir().expect("a directory");
    for path in everything(directory.path()) {
        let before = identity_of(&path);
        let is_file = path.ends_with("file");
        match does(&path) {
            Ok(()) => assert!(is_file, "{}", path.display()),
            Err(error) => {
                assert!(!is_file, "{error}");
                assert!(
                    error.contains("expected a regular file or nothing") && !error.contains('\n'),
                    "{error}"
                );
                assert_eq!(identity_of(&path), before, "{}", path.display());
            }
        }
    }
    assert!(!directory.path().join("nothing").exists(), "written through a link");
    assert_eq!(std::fs::read(directory.path().join("directory/file")).expect("a file"), b"mine");
}

#[test]
fn files_take_the_place_of_regular_files_alone() {
    only_at_files(|path| private::write(path, b"ours").map_err(|error| format!("{error:#}")));
    only_at_files(|path| {
        crate::Artifact::write(path, b"ours").map(drop).map_err(|error| format!("{error:#}"))
    });
    let text = |result: Result<File>| result.map(drop).map_err(|error| error.to_string());
    only_at_files(|path| text(open(path)));
    only_at_files(|path| text(open_or_create(path)));
    only_at_files(|path| text(open_to_append(path)));
    only_at_files(|path| remove_file(path).map_err(|error| error.to_string()));
}

/// Of everything there is, `remove` removes what has this name, and it accepts that nothing is there.
fn removes_only(name: &str, remove: impl Fn(&Path) -> Result<()>) {
    let directory = tempfile::tempdir().expect("a directory");
    for path in everything(directory.path()) {
        let removed = remove(&path);
        assert_eq!(removed.is_ok(), path.ends_with(name), "{removed:?}");
        assert_eq!(std::fs::symlink_metadata(&path).is_err(), removed.is_ok(), "{}", path.display());
    }
    remove(&directory.path().join("nothing")).expect("nothing to remove");
}

#[test]
fn nothing_but_a_socket_is_removed_as_one() {
    removes_only("socket", remove_socket);
}

#[test]
fn nothing_but_a_directory_is_removed_as_one() {
    removes_only("directory", remove_directory);
}

#[test]
fn what_is_moved_takes_the_place_of_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let (tree, socket) = (directory.path().join("tree"), directory.path().join("new"));
    std::fs::create_dir(&tree).expect("made");
    drop(UnixListener::bind(&socket).expect("bound"));
    for path in everything(directory.path()) {
        assert!(move_directory(&tree, &path).is_err() && tree.is_dir(), "{}", path.display());
        let before = identity_of(&path);
        let moved = move_socket(&socket, &path);
        assert_eq!(moved.is_ok(), path.ends_with("socket"), "{moved:?}");
        assert_eq!(identity_of(&path) == before, moved.is_err(), "{}", path.display());
    }
    assert!(move_socket(&tree, &directory.path().join("there")).is_err(), "it is no socket");
    move_directory(&tree, &directory.path().join("there")).expect("nothing is in its way");
}

#[test]
fn a_socket_goes_with_its_owner_unless_it_is_another_by_then() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let _first = UnixListener::bind(&path).expect("bound");
    drop(SocketFile::at(&path).expect("it is there"));
    assert!(!path.exists());
    let _second = UnixListener::bind(&path).expect("bound");
    let file = SocketFile::at(&path).expect("it is there");
    std::fs::rename(&path, directory.path().join("moved")).expect("moved");
    std::fs::write(&path, "mine").expect("written");
    drop(file);
    assert_eq!(std::fs::read(&path).expect("a file"), b"mine");
}
