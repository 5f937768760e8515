//! `eprintln!` for this crate. Unlike the standard library's, it does not panic if standard error is closed (a closed terminal, a
//! pipe whose reader has ended), so requests in progress are not lost. It also masks private keys: see [`crate::host::message`].

macro_rules! eprintln {
    ($($words:tt)*) => { $crate::host::message::say(::std::format_args!($($words)*)) };
}
