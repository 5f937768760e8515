//! `eprintln!` for this crate: a standard error that nobody reads any more (a terminal that was closed, a pipe whose reader has
//! ended) is no reason to end, where the standard library's panics. What is under way goes on. And no line shows a private key:
//! see [`crate::host::message`].

macro_rules! eprintln {
    ($($words:tt)*) => { $crate::host::message::say(::std::format_args!($($words)*)) };
}
