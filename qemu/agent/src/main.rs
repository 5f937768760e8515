//! The program; see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use weir_agent::arguments::{HELP, Wish, parse};
use weir_agent::{agent, init};

fn main() -> ExitCode {
    let first = init::is_first();
    let status = match run(first) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("weir-agent: {error}");
            1
        }
    };
    if first {
        // The kernel panics if its first process ends.
        eprintln!("weir-agent: switching off: {}", init::power_off());
    }
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn run(first: bool) -> Result<i32, String> {
    let arguments = if first {
        init::prepare()?;
        init::arguments()?
    } else {
        std::env::args_os().skip(1).collect()
    };
    match parse(arguments)? {
        Wish::Run(arguments) => agent::run(&arguments).map_err(|error| error.to_string()),
        Wish::Help => {
            print!("{HELP}");
            Ok(0)
        }
    }
}
