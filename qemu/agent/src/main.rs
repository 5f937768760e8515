//! The `weir-agent` program; see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use weir_agent::arguments::{HELP, Invocation, parse};
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
        // The kernel panics if init ends.
        eprintln!("weir-agent: powering off failed: {}", init::power_off());
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
        Invocation::Run(arguments) => agent::run(&arguments).map_err(|error| error.to_string()),
        Invocation::Help => {
            print!("{HELP}");
            Ok(0)
        }
    }
}
