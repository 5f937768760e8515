use super::*;
use crate::require::require;
use image::config::Rotate;
use model::log::Field;
use model::settings::{self, LogFormat};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const DAY: u64 = 86_400;
/// 2026-11-22 00:00:00
const NOON: u64 = 1_795_305_600;

fn log(directory: &Path, format: LogFormat) -> Log {
    Log {
        settings: settings::Log {
            port: 1,
            format,
            fields: vec![Field::Method, Field::Status],
            errors: true,
            computer: String::new(),
        },
        directory: directory.to_owned(),
        rotate: Rotate::Day,
        max_size: 1 << 20,
        keep: 0,
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// Files in a directory, and their state.
fn files_at(directory: &Path, format: LogFormat) -> (Files, Arc<State>) {
    let state = Arc::new(State::default());
    (Files::new(&log(directory, format), state.clone()).expect("files"), state)
}

/// Writes, and returns what is not acknowledged.
fn write_lines(files: &mut Files, lines: &[u8], unix: u64) -> Vec<u8> {
    let mut lines = lines.to_vec();
    let written = files.write(&mut lines, unix);
    lines.split_off(written)
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).expect("a file")
}

/// The lines of a file, without heads.
fn body(directory: &Path, name: &str) -> Vec<String> {
    read(directory, name).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn files_have_a_head_and_change_with_the_day() {
    let directory = TempDir::new().expect("a directory");
    let (mut files, _) = files_at(directory.path(), LogFormat::W3c);
    assert_eq!(names(directory.path()), [""; 0], "made with the first line");
    assert_eq!(write_lines(&mut files, b"aGET 200\n", NOON), b"");
    assert_eq!(write_lines(&mut files, b"aGET 404\nean error\nd7\n", NOON + DAY), b"");
    assert_eq!(
        names(directory.path()),
        ["access-20261122-000.log", "access-20261123-000.log", "httperr-20261123-000.log"]
    );
    let read = |name: &str| read(directory.path(), name);
    let head = format!("#Software: Weir {}\n#Version: 1.0\n#Date: 2026-11-2", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        read("access-20261122-000.log"),
        format!("{head}2 00:00:00\n#Fields: cs-method sc-status\nGET 200\n")
    );
    assert!(read("access-20261123-000.log").ends_with("GET 404\n#Remark: 7 lines dropped\n"));
    assert!(read("httperr-20261123-000.log").contains("s-reason s-queuename\nan error\n"));
}

#[test]
fn full_files_are_followed_and_the_oldest_go() {
    let directory = TempDir::new().expect("a directory");
    let line = [vec![b'a'], vec![b'x'; 300_000], b"\n".to_vec()].concat();
    let write = |times: usize, at_once: usize| {
        let mut log = log(directory.path(), LogFormat::Json);
        log.keep = 2;
        let mut files = Files::new(&log, Arc::default()).expect("files");
        (0..times).for_each(|_| assert_eq!(write_lines(&mut files, &line.repeat(at_once), NOON), b""));
    };
    std::fs::write(directory.path().join("access-notes.jsonl"), "mine").expect("a file");
    write(4, 1);
    assert_eq!(
        names(directory.path()),
        ["access-20261122-000.jsonl", "access-20261122-001.jsonl", "access-notes.jsonl"]
    );
    // Another run continues in the last file.
    write(1, 6);
    assert_eq!(
        names(directory.path()),
        ["access-20261122-002.jsonl", "access-20261122-003.jsonl", "access-notes.jsonl"]
    );
    let len = |name: &str| directory.path().join(name).metadata().expect("a file").len();
    assert_eq!((len("access-20261122-002.jsonl"), len("access-20261122-003.jsonl")), (900_003, 300_001));
}

/// A log that cannot be written delays acknowledgement, but not the other log; nothing is written twice.
#[test]
fn what_cannot_be_written_is_not_acknowledged_and_written_later() {
    for format in [LogFormat::W3c, LogFormat::Json] {
        let directory = TempDir::new().expect("a directory");
        let (mut files, state) = files_at(directory.path(), format);
        let access =
            if format == LogFormat::Json { "access-20261122-000.jsonl" } else { "access-20261122-000.log" };
        // A directory in place of the file is an error even for root.
        std::fs::create_dir(directory.path().join(access)).expect("a directory");
        let mut left = b"efirst\naone\nesecond\natwo\nd3\n".to_vec();
        for attempt in 1..=3 {
            let before = left.len();
            let written = files.write(&mut left, NOON);
            left.drain(..written);
            assert_eq!(
                (written, left.len()),
                (if attempt == 1 { 7 } else { 0 }, if attempt == 1 { before - 7 } else { before })
            );
            assert_eq!(body(directory.path(), "httperr-20261122-000.log"), ["first", "second"]);
            assert_eq!((state.get().write_errors, state.get().failing.len()), (attempt, 1));
        }
        std::fs::remove_dir(directory.path().join(access)).expect("empty");
        assert_eq!(files.write(&mut left, NOON), left.len());
        let dropped = if format == LogFormat::Json { "{\"dropped\":3}" } else { "#Remark: 3 lines dropped" };
        assert!(read(directory.path(), access).ends_with(&format!("one\ntwo\n{dropped}\n")));
        assert_eq!(body(directory.path(), "httperr-20261122-000.log"), ["first", "second"]);
        assert_eq!(state.get(), LogState { write_errors: 3, lines_given_up: 0, failing: BTreeMap::new() });
    }
}

/// If a file is removed, renamed or truncated, or its directory disappears, the log continues, and no line is reported as written
/// that is not.
#[test]
fn a_file_that_is_taken_away_is_noticed() {
    let parent = TempDir::new().expect("a directory");
    let directory = parent.path().join("logs");
    let (mut files, _) = files_at(&directory, LogFormat::Json);
    let file = directory.join("access-20261122-000.jsonl");
    let mut write =
        |text: &str| assert_eq!(write_lines(&mut files, format!("a{text}\n").as_bytes(), NOON), b"");
    let lines = || read(&directory, "access-20261122-000.jsonl");
    write("1");
    std::fs::remove_file(&file).expect("a file");
    write("2");
    assert_eq!(lines(), "2\n");
    std::fs::rename(&file, directory.join("rotated")).expect("a file");
    write("3");
    assert_eq!((lines().as_str(), read(&directory, "rotated").as_str()), ("3\n", "2\n"));
    // logrotate's copytruncate.
    std::fs::write(&file, "").expect("a file");
    write("4");
    assert_eq!(lines(), "4\n");
    std::fs::remove_dir_all(&directory).expect("a directory");
    write("5");
    assert_eq!(lines(), "5\n");
}

/// Left by a program that was killed while writing.
#[test]
fn half_a_line_is_cut_off_before_the_next() {
    let directory = TempDir::new().expect("a directory");
    for (left, whole) in [("one\ntw", "one\n"), ("on", ""), ("", ""), ("one\n", "one\n")] {
        std::fs::write(directory.path().join("access-20261122-000.jsonl"), left).expect("a file");
        let (mut files, _) = files_at(directory.path(), LogFormat::Json);
        assert_eq!(write_lines(&mut files, b"atwo\n", NOON), b"");
        assert_eq!(read(directory.path(), "access-20261122-000.jsonl"), format!("{whole}two\n"));
    }
}

/// A file system of this size. `None` if mounting is not permitted.
struct Mounted(TempDir);

impl Mounted {
    fn new(size: &str) -> Option<Self> {
        let directory = TempDir::new().expect("a directory");
        let options = format!("size={size},mode=0700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "weir-test"])
            .arg(directory.path())
            .output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        require("mounts", mounted).then_some(Self(directory))
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let status = Command::new("mount").args(["-o", &option]).arg(self.0.path()).status();
        assert!(status.expect("mount").success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// A full disk, and one that becomes read-only, in both formats: every line is written once, whole, and in order.
#[test]
fn a_full_disk_loses_and_cuts_nothing() {
    for format in [LogFormat::W3c, LogFormat::Json] {
        let Some(disk) = Mounted::new("256k") else { return };
        let directory = disk.0.path().join("logs");
        let (mut files, state) = files_at(&directory, format);
        let ballast = disk.0.path().join("ballast");
        std::fs::write(&ballast, vec![0; 160 << 10]).expect("room");
        let line = |n: usize| format!("a{{\"n\":{n},\"x\":\"{}\"}}\n", "y".repeat(200 + n));
        let mut waiting = Vec::new();
        let mut failures = 0;
        for n in 0..500 {
            waiting.extend(line(n).bytes());
            let written = files.write(&mut waiting, NOON);
            waiting.drain(..written);
            failures += u64::from(!waiting.is_empty());
            // While nothing can be written, no file is open.
            match failures {
                50 => disk.remount("ro"),
                80 => disk.remount("rw"),
                _ => {}
            }
        }
        assert!(failures > 100 && state.get().write_errors == failures, "{failures}");
        assert!(state.get().failing["access"].contains("No space left on device"), "{:?}", state.get());
        let name = names(&directory).into_iter().find(|name| name.starts_with("access")).expect("a file");
        let expected = |n: usize| line(n)[1..].trim_end().to_owned();
        let there = body(&directory, &name);
        assert!(there.len() > 100 && there.iter().enumerate().all(|(n, line)| *line == expected(n)));
        std::fs::remove_file(&ballast).expect("a file");
        assert_eq!(files.write(&mut waiting, NOON), waiting.len());
        assert_eq!(body(&directory, &name), (0..500).map(expected).collect::<Vec<_>>());
        assert!(state.get().failing.is_empty());
    }
}

#[test]
fn a_directory_that_may_not_be_written_is_an_error_like_others() {
    let directory = TempDir::new().expect("a directory");
    let place = directory.path().join("logs");
    let (mut files, state) = files_at(&place, LogFormat::W3c);
    let mode = |mode| std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).expect("ours");
    mode(0o555);
    // root may write anywhere.
    if !require("unprivileged", std::fs::write(place.join("probe"), "").is_err()) {
        return;
    }
    assert_eq!(write_lines(&mut files, b"aone\n", NOON), b"aone\n");
    assert!(state.get().failing["access"].contains("Permission denied"));
    mode(0o755);
    assert_eq!(write_lines(&mut files, b"aone\n", NOON), b"");
}

#[tokio::test]
async fn streams_are_taken_line_by_line() {
    let directory = TempDir::new().expect("a directory");
    let (files, state) = files_at(directory.path(), LogFormat::Json);
    let files = Arc::new(Mutex::new(files));
    for (stream, acknowledged) in [
        (&b"a{\"n\":1}\ne"[..], 9_usize),
        (b"a{\"n\":2}\nexyz\nd3\n?what\n", 23),
        (&vec![b'a'; MAX_LINE + 70_000], 0),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(stream).await.expect("room");
        theirs.shutdown().await.expect("open");
        collect(ours, files.clone(), state.clone()).await;
        let mut counts = Vec::new();
        theirs.read_to_end(&mut counts).await.expect("open");
        let counts = counts.as_chunks::<4>().0.iter().map(|n| u32::from_le_bytes(*n) as usize);
        assert_eq!(counts.sum::<usize>(), acknowledged);
    }
    let read = |start: &str| {
        let name = names(directory.path()).into_iter().find(|name| name.starts_with(start)).expect("a file");
        std::fs::read_to_string(directory.path().join(name)).expect("a file")
    };
    assert_eq!(read("access"), "{\"n\":1}\n{\"n\":2}\n{\"dropped\":3}\n");
    assert!(read("httperr").ends_with("\nxyz\n"));
}

/// Nothing is acknowledged while the disk accepts nothing, and everything once it does.
#[tokio::test]
async fn acknowledged_is_what_is_on_the_disk() {
    let directory = TempDir::new().expect("a directory");
    let (files, state) = files_at(directory.path(), LogFormat::Json);
    // On any day: no file of the access log can be created while its directory is a file.
    std::fs::remove_dir_all(directory.path()).expect("a directory");
    std::fs::write(directory.path(), "in the way").expect("a file");
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let (collecting, told) = (collect(ours, Arc::new(Mutex::new(files)), state.clone()), state.clone());
    let client = async {
        theirs.write_all(b"aone\natw").await.expect("room");
        while told.get().write_errors < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        theirs.write_all(b"o\n").await.expect("room");
        std::fs::remove_file(directory.path()).expect("a file");
        let mut counts = [0; 4];
        theirs.read_exact(&mut counts).await.expect("an acknowledgement");
        assert_eq!(u32::from_le_bytes(counts), 10);
        theirs.write_all(b"athree\n").await.expect("room");
        theirs.read_exact(&mut counts).await.expect("an acknowledgement");
        assert_eq!(u32::from_le_bytes(counts), 7);
        theirs.shutdown().await.expect("open");
    };
    tokio::join!(collecting, client);
    let name = names(directory.path()).remove(0);
    assert_eq!(read(directory.path(), &name), "one\ntwo\nthree\n");
    assert_eq!(state.get().lines_given_up, 0);
}

/// Lines that still cannot be written when the stream ends are counted.
#[tokio::test]
async fn lines_given_up_are_counted() {
    let directory = TempDir::new().expect("a directory");
    let (files, state) = files_at(&directory.path().join("logs"), LogFormat::Json);
    std::fs::remove_dir(directory.path().join("logs")).expect("empty");
    std::fs::write(directory.path().join("logs"), "in the way").expect("a file");
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    theirs.write_all(b"aone\naxyz\nhalf").await.expect("room");
    theirs.shutdown().await.expect("open");
    collect(ours, Arc::new(Mutex::new(files)), state.clone()).await;
    assert_eq!(state.get().lines_given_up, 2);
    let mut counts = Vec::new();
    theirs.read_to_end(&mut counts).await.expect("open");
    assert_eq!(counts, b"");
}

#[test]
fn what_is_no_file_of_the_logs_is_neither_written_nor_removed() {
    let directory = TempDir::new().expect("a directory");
    let logs = directory.path().join("logs");
    std::fs::create_dir(&logs).expect("made");
    // Its end looks like a partial line left by a killed program.
    let mine = directory.path().join("app.toml");
    std::fs::write(&mine, "[[site]]\nname").expect("written");
    std::os::unix::fs::symlink(&mine, logs.join("access-20261122-000.log")).expect("linked");
    std::os::unix::fs::symlink(&mine, logs.join("access-20261120-000.log")).expect("linked");
    nix::unistd::mkfifo(&logs.join("httperr-20261122-000.log"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    let state = Arc::new(State::default());
    let one = Log { keep: 1, ..log(&logs, LogFormat::W3c) };
    let mut files = Files::new(&one, state.clone()).expect("files");
    let lines = b"aGET 200\nean error\n";
    assert_eq!(write_lines(&mut files, lines, NOON), lines, "nothing is acknowledged");
    let failing = state.get().failing;
    assert!(failing["access"].contains("is a symbolic link, expected a regular file"), "{failing:?}");
    assert!(failing["httperr"].contains("is a FIFO, expected a regular file"), "{failing:?}");
    assert_eq!(std::fs::read_to_string(&mine).expect("a file"), "[[site]]\nname");
    // The next day's names are free, and files of others do not count among those to keep.
    assert_eq!(write_lines(&mut files, lines, NOON + DAY), b"");
    assert_eq!(state.get().failing, BTreeMap::new());
    let wanted = ["access-20261120-000.log", "access-20261122-000.log", "access-20261123-000.log"];
    assert_eq!(names(&logs)[..3], wanted);
    assert!(logs.join("httperr-20261122-000.log").symlink_metadata().is_ok());
}
