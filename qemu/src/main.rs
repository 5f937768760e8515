//! The `weir` command; the library [`weir`] implements it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    weir::cli::main()
}
