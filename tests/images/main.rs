//! Images as operators deploy them: built in every format, booted in QEMU, truncated, damaged.
//!
//! `WEIR` is the `weir` program to test. Tests run one at a time, on the main thread, because machines end with the thread that
//! started them.

mod boots;
mod builds;
mod damage;
mod fw_cfg;
mod memory;
mod shelf;

use libtest_mimic::{Arguments, Trial};
use shelf::Shelf;
use std::process::ExitCode;
use std::sync::Arc;

type Test = (&'static str, fn(&Shelf) -> anyhow::Result<()>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let shelf = match Shelf::new() {
        Ok(shelf) => Arc::new(shelf),
        Err(error) => {
            eprintln!("images: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let all: [&[Test]; 5] = [boots::TESTS, builds::TESTS, damage::TESTS, fw_cfg::TESTS, memory::TESTS];
    let trials = all.into_iter().flatten().map(|&(name, test)| {
        let shelf = shelf.clone();
        Trial::test(name, move || test(&shelf).map_err(|error| format!("{error:#}").into()))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
