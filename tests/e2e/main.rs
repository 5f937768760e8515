//! End-to-end tests: `weir up` in QEMU, with the real `curl` as the client.
//!
//! `WEIR` is the `weir` program to test; `WEIR_TEST_LOG=1` shows its output. Most tests share one appliance and run in parallel;
//! those that start or kill machines have their own.

mod bad_input;
mod bad_workers;
mod bench;
mod corpus;
mod demo;
mod drain;
mod ends;
mod forwarding;
mod front;
mod health;
mod lab;
mod lifecycle;
mod links;
mod linux_worker;
mod logs;
mod network;
mod privacy;
mod robustness;
mod slow_clients;
mod slow_site;
mod static_files;
mod supervisor;
mod tls;
mod vsock;
mod workers;

use demo::Demo;
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Time limit for everything, reached only if a test hangs.
const LIMIT: Duration = Duration::from_secs(60 * 60);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two machines and a load generator on two cores: with more threads, tests would mostly wait.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let demo = Arc::new(Demo::default());
    let mut trials = Vec::new();
    for (name, test) in static_files::TESTS
        .iter()
        .chain(forwarding::TESTS)
        .chain(robustness::TESTS)
        .chain(slow_site::TESTS)
        .chain(front::SHARED)
    {
        let demo = demo.clone();
        trials.push(Trial::test(*name, move || test(&demo).map_err(failed)));
    }
    let own = lifecycle::TESTS.iter().chain(bad_input::TESTS).chain(workers::TESTS);
    let own = own.chain(ends::TESTS).chain(network::TESTS).chain(privacy::TESTS).chain(health::TESTS);
    let own = own.chain(bad_workers::TESTS).chain(drain::TESTS).chain(supervisor::TESTS).chain(vsock::TESTS);
    for (name, test) in
        own.chain(logs::TESTS).chain(corpus::TESTS).chain(front::TESTS).chain(tls::TESTS).chain(links::TESTS)
    {
        trials.push(Trial::test(*name, move || test().map_err(failed)));
    }
    // Long-running tests and measurements: `-- --ignored FILTER` runs them.
    for (name, test) in slow_clients::TESTS.iter().chain(linux_worker::TESTS) {
        trials.push(Trial::test(*name, move || test().map_err(failed)).with_ignored_flag(true));
    }
    if !arguments.list {
        if let Err(error) = demo.start() {
            eprintln!("the demo does not start: {error:#}");
            return ExitCode::FAILURE;
        }
        std::thread::spawn(|| {
            std::thread::sleep(LIMIT);
            eprintln!("e2e: not done after {LIMIT:?}");
            // The machines end with this process.
            std::process::exit(1);
        });
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    demo.stop(conclusion.has_failed());
    conclusion.exit_code()
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
