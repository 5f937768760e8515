use super::*;
use appliance::log::Field;
use appliance::settings::{self, LogFormat};
use image::config::Rotate;
use std::path::Path;
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

#[test]
fn files_have_a_head_and_change_with_the_day() {
    let directory = TempDir::new().expect("a directory");
    let mut files = Files::new(&log(directory.path(), LogFormat::W3c)).expect("files");
    assert_eq!(names(directory.path()), [""; 0], "made with the first line");
    files.access(b"GET 200\n", NOON);
    files.access(b"GET 404\n", NOON + DAY);
    files.error(b"an error\n", NOON + DAY);
    files.dropped(7, NOON + DAY);
    files.flush();
    assert_eq!(
        names(directory.path()),
        ["access-20261122-000.log", "access-20261123-000.log", "httperr-20261123-000.log"]
    );
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect("a file");
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
    let line = [vec![b'x'; 300_000], b"\n".to_vec()].concat();
    let write = |times: usize| {
        let mut log = log(directory.path(), LogFormat::Json);
        log.keep = 2;
        let mut files = Files::new(&log).expect("files");
        (0..times).for_each(|_| files.access(&line, NOON));
        files.flush();
    };
    std::fs::write(directory.path().join("access-notes.jsonl"), "mine").expect("a file");
    write(4);
    assert_eq!(
        names(directory.path()),
        ["access-20261122-000.jsonl", "access-20261122-001.jsonl", "access-notes.jsonl"]
    );
    // Another run goes on in the last one.
    write(6);
    assert_eq!(
        names(directory.path()),
        ["access-20261122-002.jsonl", "access-20261122-003.jsonl", "access-notes.jsonl"]
    );
    let len = |name: &str| directory.path().join(name).metadata().expect("a file").len();
    assert_eq!((len("access-20261122-002.jsonl"), len("access-20261122-003.jsonl")), (900_003, 300_001));
}

#[test]
fn what_cannot_be_written_is_said_and_tried_again() {
    let directory = TempDir::new().expect("a directory");
    let place = directory.path().join("logs");
    let mut files = Files::new(&log(&place, LogFormat::W3c)).expect("files");
    std::fs::remove_dir(&place).expect("empty");
    files.access(b"lost\n", NOON);
    std::fs::create_dir(&place).expect("a directory");
    files.access(b"kept\n", NOON);
    files.flush();
    let text = std::fs::read_to_string(place.join("access-20261122-000.log")).expect("a file");
    assert!(text.ends_with("\nkept\n") && !text.contains("lost"));
}

#[tokio::test]
async fn streams_are_taken_line_by_line() {
    let directory = TempDir::new().expect("a directory");
    let files = Rc::new(RefCell::new(Files::new(&log(directory.path(), LogFormat::Json)).expect("files")));
    for (stream, acknowledged) in [
        (&b"a{\"n\":1}\ne"[..], 9_usize),
        (b"a{\"n\":2}\nexyz\nd3\n?what\n", 23),
        (&vec![b'a'; MAX_LINE + 70_000], 0),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(stream).await.expect("room");
        theirs.shutdown().await.expect("open");
        collect(ours, files.clone()).await;
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
