//! `eprintln!` for this crate: a standard error that nobody reads any more (a terminal that was closed, a pipe whose reader has
//! ended) is no reason to end, where the standard library's panics. What is under way goes on.

macro_rules! eprintln {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}
