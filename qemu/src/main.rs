//! The `weir` command; [`weir`] is what it is made of.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    weir::cli::main()
}
