//! The first serial port (16550), already set up by the kernel. Polled, like the kernel's own output.

use super::cpu;
use core::fmt;

const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = 0x3fd;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// Maximum number of status reads before a byte is written regardless, so that a missing port does not stop the machine.
const PATIENCE: u32 = 100_000;

/// Writes to the first serial port, converting LF to CR LF. Never fails.
#[derive(Clone, Copy, Debug)]
pub struct Serial;

impl Serial {
    fn byte(byte: u8) {
        for _ in 0..PATIENCE {
            if cpu::inb(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        cpu::outb(DATA, byte);
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                Self::byte(b'\r');
            }
            Self::byte(byte);
        }
        Ok(())
    }
}
