//! Ending the machine: [`exit`], the panic handler, and QEMU's exit status.
//!
//! libhermit-rs 0.6 powers off through ACPI whatever the status, and QEMU then exits with status 0. A status other than 0 is
//! therefore first written to QEMU's `isa-debug-exit` device, if present (`-device isa-debug-exit,iobase=0xf4,iosize=4`); QEMU
//! then exits with `(code << 1) | 1`:
//!
//! | cause | with the device | without it |
//! |---|---|---|
//! | `exit(0)`, `main` returned `Ok` | 0 | 0 |
//! | `main` returned `Err` ([`EXIT_FAILURE`] = 1) | 3 | 0 |
//! | panic ([`EXIT_PANIC`] = 2) | 5 | 0 |
//! | processor exception, stack overflow ([`EXIT_EXCEPTION`] = 3) | 7 | 0 |
//!
//! A panic because of memory exhaustion is followed by a line that says so. Without the device, the failure is still visible in
//! the last serial line (`error: …`, `panic at …`, `exception …`).

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

/// Powers the machine off; 0 is success. The table above has QEMU's exit status.
pub fn exit(code: i32) -> ! {
    if code != 0 {
        cpu::outl(DEBUG_EXIT_PORT, code as u32);
    }
    abi::exit(code)
}

/// Beginning of the library's message about a failed allocation.
const OUT_OF_MEMORY: &str = "memory allocation of ";

/// Checks whether formatted text begins with `rest`, without storing it.
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
    // A panic while printing one must not recurse.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        match info.location() {
            Some(place) => crate::println!("panic at {}:{}: {}", place.file(), place.line(), info.message()),
            None => crate::println!("panic: {}", info.message()),
        }
        let mut begins = Begins { rest: OUT_OF_MEMORY };
        // An error only means that the text differs.
        if write!(begins, "{}", info.message()).is_ok() && begins.rest.is_empty() {
            crate::println!("error: this machine's memory is full: give it more");
        }
    }
    exit(EXIT_PANIC)
}
