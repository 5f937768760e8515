//! The local APIC: its timer, and the MSI address for devices (Intel SDM 3A §11).

use super::{
    cpu,
    interrupts::{self, CONFIG_VECTOR, QUEUE_VECTOR, TIMER_VECTOR},
    paging::Paging,
    pit::Pit,
};
use crate::platform::{InterruptKind, MsiMessage};
use core::sync::atomic::Ordering;

const IA32_APIC_BASE: u32 = 0x1b;
const APIC_BASE_X2APIC: u64 = 1 << 10;
const X2APIC_MSRS: u32 = 0x800;

const ID: u32 = 0x02;
const EOI: u32 = 0x0b;
const SPURIOUS: u32 = 0x0f;
const LVT_TIMER: u32 = 0x32;
const INITIAL_COUNT: u32 = 0x38;
const CURRENT_COUNT: u32 = 0x39;
const DIVIDE: u32 = 0x3e;

const SPURIOUS_APIC_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
/// Divide by 16: at 1 GHz, 68 s fit into the counter, in steps of 16 ns.
const DIVIDE_BY_16: u32 = 0b0011;

/// This processor's local APIC.
#[derive(Debug)]
pub(super) struct Apic {
    /// Address of the registers; `None` in x2APIC mode.
    registers: Option<u64>,
    /// Timer ticks per second.
    timer_hz: u64,
}

impl Apic {
    /// Takes the APIC over from the kernel, with our own vectors and timer. `None` if its registers cannot be mapped.
    pub(super) fn new(paging: &mut Paging) -> Option<Self> {
        // SAFETY: every 64-bit processor has this register.
        let base = unsafe { cpu::rdmsr(IA32_APIC_BASE) };
        let registers = if base & APIC_BASE_X2APIC != 0 {
            None
        } else {
            Some(paging.map_registers(base & 0x000f_ffff_ffff_f000, 4096)?)
        };
        let apic = Self { registers, timer_hz: 0 };
        let eoi = registers.map_or(0, |at| at + u64::from(EOI) * 16);
        interrupts::EOI_REGISTER.store(eoi, Ordering::Relaxed);
        apic.write(SPURIOUS, apic.read(SPURIOUS) | SPURIOUS_APIC_ENABLE);
        apic.write(LVT_TIMER, LVT_MASKED | u32::from(TIMER_VECTOR));
        apic.write(DIVIDE, DIVIDE_BY_16);
        Some(apic)
    }

    /// Starts the timer's counter, masked, for a measurement.
    pub(super) fn start_measuring(&self) {
        self.write(INITIAL_COUNT, u32::MAX);
    }

    /// Ends the measurement; `pit_ticks` have passed since [`Apic::start_measuring`].
    pub(super) fn finish_measuring(&mut self, pit_ticks: u64) {
        let ticks = u64::from(u32::MAX - self.read(CURRENT_COUNT));
        self.write(INITIAL_COUNT, 0);
        // If the timer does not advance, use a rate that makes waits short rather than endless.
        self.timer_hz = (ticks * Pit::HZ / pit_ticks.max(1)).max(1_000_000);
        self.write(LVT_TIMER, u32::from(TIMER_VECTOR));
    }

    /// Raises an interrupt in `ns` nanoseconds, or earlier if that exceeds the counter's range.
    pub(super) fn arm_timer(&self, ns: u64) {
        // Beyond a second precision does not matter, and the product cannot overflow.
        let ticks = if ns < 1_000_000_000 {
            ns * self.timer_hz / 1_000_000_000
        } else {
            (ns / 1_000_000_000).saturating_mul(self.timer_hz)
        };
        self.write(INITIAL_COUNT, ticks.clamp(1, u64::from(u32::MAX)) as u32);
    }

    /// Stops the timer.
    pub(super) fn stop_timer(&self) {
        self.write(INITIAL_COUNT, 0);
    }

    /// The MSI message with which a device interrupts this processor.
    pub(super) fn msi_message(&self, kind: InterruptKind) -> Option<MsiMessage> {
        let id = match self.registers {
            Some(_) => self.read(ID) >> 24,
            None => self.read(ID),
        };
        // Message addresses hold eight bits of the id (§11.11.1).
        let id = u8::try_from(id).ok()?;
        let vector = match kind {
            InterruptKind::Queue => QUEUE_VECTOR,
            InterruptKind::Config => CONFIG_VECTOR,
        };
        Some(MsiMessage { address: 0xfee0_0000 | u64::from(id) << 12, data: u32::from(vector) })
    }

    fn read(&self, register: u32) -> u32 {
        match self.registers {
            // SAFETY: the register page is mapped, and stays so.
            Some(at) => unsafe { ((at + u64::from(register) * 16) as *const u32).read_volatile() },
            // SAFETY: the processor is in x2APIC mode, so it has these registers.
            None => unsafe { cpu::rdmsr(X2APIC_MSRS + register) as u32 },
        }
    }

    fn write(&self, register: u32, value: u32) {
        match self.registers {
            // SAFETY: as in `read`.
            Some(at) => unsafe { ((at + u64::from(register) * 16) as *mut u32).write_volatile(value) },
            // SAFETY: as in `read`; the values written are those this module defines.
            None => unsafe { cpu::wrmsr(X2APIC_MSRS + register, u64::from(value)) },
        }
    }
}
