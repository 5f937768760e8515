//! Tests with real machines wait for events with `weir_tests::wait_for` and similar functions, and never compare times, because a
//! busy machine would make them fail. Exceptions are listed here, each with the reason why it is safe.

const DIRECTORIES: &[&str] = &["tests/e2e", "tests/apps", "tests/images"];
/// Ways to read a clock, or to wait for one.
const CLOCKS: &[&str] = &["thread::sleep", "Instant::now", ".elapsed()", "SystemTime::now"];
const ALLOWED: &[(&str, &str)] = &[
    ("tests/apps/behaviours.rs", "requests after pauses of any length are answered"),
    ("tests/apps/main.rs", "the watchdog of all tests"),
    ("tests/e2e/bad_workers.rs", "how long a fault lasts: at least so long"),
    ("tests/e2e/drain.rs", "at least so long"),
    ("tests/e2e/logs.rs", "a time in the log is no longer than what passed here"),
    ("tests/e2e/main.rs", "the watchdog of all tests"),
    ("tests/e2e/slow_clients.rs", "a benchmark, which is run by name"),
    ("tests/e2e/slow_site.rs", "at least so long"),
    ("tests/e2e/supervisor.rs", "printed, and not compared"),
    ("tests/e2e/vsock.rs", "the pause of a client that tries all the time"),
    ("tests/e2e/workers.rs", "at least so long; and how long chaos is made"),
    ("tests/images/builds.rs", "moments at which a build is cut off, any of which it survives"),
];

fn looks_at_a_clock(source: &str) -> bool {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    source.lines().filter(code).any(|line| CLOCKS.iter().any(|clock| line.contains(clock)))
}

#[test]
fn no_test_waits_for_a_clock() {
    let root = weir_tests::workspace();
    let mut found = Vec::new();
    for directory in DIRECTORIES {
        let mut files = Vec::new();
        crate::files(&root.join(directory), "rs", &mut files);
        found.extend(files.into_iter().filter(|file| looks_at_a_clock(&crate::read(file))));
    }
    let mut found: Vec<_> = found
        .iter()
        .map(|file| file.strip_prefix(&root).expect("a file of the checkout").to_string_lossy().into_owned())
        .collect();
    found.sort();
    let allowed: Vec<_> = ALLOWED.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(
        found, allowed,
        "wait for the event itself, see tests/src/lib.rs, or say why a busy machine cannot break it"
    );
}

#[test]
fn a_clock_is_seen() {
    assert!(looks_at_a_clock("fn f() { std::thread::sleep(A); }"));
    assert!(!looks_at_a_clock("// Instant::now is not called.\nfn f() { wait_for(a, b); }"));
}
