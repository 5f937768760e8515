//! The ways out: [`exit`], the panic handler, and what QEMU makes of them.
//!
//! libhermit-rs 0.6 powers off through ACPI whatever status it is given, and then QEMU ends with status 0. So a
//! status other than 0 is first written to QEMU's `isa-debug-exit` device, where there is one
//! (`-device isa-debug-exit,iobase=0xf4,iosize=4`); QEMU then ends with `(code << 1) | 1`:
//!
//! | way out | with the device | without it |
//! |---|---|---|
//! | `exit(0)`, `main` returned `Ok` | 0 | 0 |
//! | `main` returned `Err` ([`EXIT_FAILURE`] = 1) | 3 | 0 |
//! | panic ([`EXIT_PANIC`] = 2) | 5 | 0 |
//! | processor exception, stack overflow ([`EXIT_EXCEPTION`] = 3) | 7 | 0 |
//!
//! A panic because memory has run out is followed by a line that says so. Without the device the failure is still in the last serial line (`error: …`, `panic at …`, `exception …`).

use super::{abi, cpu};
use core::{
    fmt::{self, Write as _},
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering},
};

/// The code of a program that ended with an error.
pub const EXIT_FAILURE: i32 = 1;
/// The code of a program that panicked.
pub const EXIT_PANIC: i32 = 2;
/// The code of a program that caused a processor exception: a page fault, an overflow of its stack.
pub const EXIT_EXCEPTION: i32 = 3;

const DEBUG_EXIT_PORT: u16 = 0xf4;

/// Powers the machine off; 0 is success. The module's table says what QEMU ends with.
pub fn exit(code: i32) -> ! {
    if code != 0 {
        cpu::outl(DEBUG_EXIT_PORT, code as u32);
    }
    abi::exit(code)
}

/// How the library's message of a failed allocation begins.
const OUT_OF_MEMORY: &str = "memory allocation of ";

/// Whether what is written begins with `rest`, without memory for all of it.
struct Begins<'a> {
    rest: &'a str,
}

impl fmt::Write for Begins<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let len = text.len().min(self.rest.len());
        let (expected, rest) = self.rest.split_at_checked(len).ok_or(fmt::Error)?;
        self.rest = rest;
        if text.as_bytes().starts_with(expected.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    cpu::interrupts_off();
    // A panic while printing one must not go round in circles.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        match info.location() {
            Some(place) => crate::println!("panic at {}:{}: {}", place.file(), place.line(), info.message()),
            None => crate::println!("panic: {}", info.message()),
        }
        let mut begins = Begins { rest: OUT_OF_MEMORY };
        // An error only says that the message is another.
        if write!(begins, "{}", info.message()).is_ok() && begins.rest.is_empty() {
            crate::println!("error: this machine's memory is full: give it more");
        }
    }
    exit(EXIT_PANIC)
}
