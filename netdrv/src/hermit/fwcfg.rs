//! The ports of QEMU's `fw_cfg` device (x86 register locations).

use super::cpu;
use crate::fwcfg::FwCfgPorts;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;

/// The device of this machine, if present.
#[derive(Clone, Copy, Debug)]
pub struct Ports;

impl FwCfgPorts for Ports {
    fn select(&self, key: u16) {
        cpu::outw(SELECTOR, key);
    }

    fn read_byte(&self) -> u8 {
        cpu::inb(DATA)
    }

    fn start_dma(&self, access: u64) {
        // Big-endian registers; writing the low half starts the device.
        cpu::outl(DMA_HIGH, ((access >> 32) as u32).to_be());
        cpu::outl_dma(DMA_LOW, (access as u32).to_be());
    }
}
