//! The runtime shared by Weir's Hermit programs: start-up, memory, time, waiting, entropy, panics and exit.
//!
//! Example of a program:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! use netdrv::hermit::{self, Machine, StartError};
//! use netdrv::{nic::Nic, println, stream::StreamTransport};
//!
//! netdrv::entry!(main);
//!
//! fn main() -> Result<(), StartError> {
//!     let mut machine = Machine::start()?;
//!     let (mut nic, mut vsock) = (machine.take_nic()?, machine.take_vsock()?);
//!     loop {
//!         let now = machine.clock().now_ns();
//!         vsock.poll(now);
//!         // ... receive, work, transmit ...
//!         nic.flush();
//!         vsock.flush();
//!         let idle = nic.arm(false) & vsock.arm();
//!         if idle {
//!             machine.wait(vsock.next_deadline());
//!         }
//!     }
//! }
//! ```
//!
//! An error returned from `main` is printed and ends the machine with [`EXIT_FAILURE`].

mod abi;
mod apic;
mod clock;
mod copy;
mod cpu;
mod exit;
mod fwcfg;
mod gate;
mod heap;
mod interrupts;
mod machine;
mod paging;
pub mod payload;
mod pit;
mod random;
mod ring0;
mod serial;

pub use clock::Clock;
pub use exit::{EXIT_EXCEPTION, EXIT_FAILURE, EXIT_PANIC, exit};
pub use fwcfg::Ports as FwCfgPorts;
pub use heap::{HeapUse, heap_use};
pub use machine::{FwCfg, Machine, Net, StartError, Vsock};
pub use random::{Entropy, EntropyError};
pub use ring0::Ring0;
pub use serial::Serial;

use core::fmt::Debug;

/// Runs a program from the kernel's entry until the machine ends. Used by [`crate::entry!`].
pub fn run<E: Debug>(main: fn() -> Result<(), E>) -> ! {
    interrupts::install_exceptions();
    heap::init();
    match main() {
        Ok(()) => exit(0),
        Err(error) => {
            crate::println!("error: {error:?}");
            exit(EXIT_FAILURE)
        }
    }
}

/// Defines the symbol the Hermit kernel jumps to, calling `$main`, a `fn() -> Result<(), E>` with `E: Debug`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn runtime_entry(_argc: i32, _argv: *const *const u8, _env: *const *const u8) -> ! {
            $crate::hermit::run($main)
        }
    };
}

/// Prints a line on the serial port, with possible keys masked ([`mask`](mod@crate::mask)).
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        use ::core::fmt::Write as _;
        let line = $crate::mask::Line::new(::core::format_args!($($argument)*));
        let _ = ::core::writeln!($crate::hermit::Serial, "{line}");
    }};
}
