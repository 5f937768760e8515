//! Our own gates in the kernel's interrupt descriptor table (Intel SDM 3A §6.14).
//!
//! The gates do next to nothing: an interrupt only ends `hlt`, and the program then polls. They run only inside
//! [`super::cpu::halt`], because interrupts are disabled everywhere else.

use super::cpu;
use core::{
    arch::{asm, naked_asm},
    ptr,
    sync::atomic::{AtomicU32, AtomicU64},
};

/// Vector of all device queues. Above 64, the kernel only has a handler that prints an error.
pub(super) const QUEUE_VECTOR: u8 = 0x90;
/// Vector of configuration changes.
pub(super) const CONFIG_VECTOR: u8 = 0x91;
/// Vector of the timer.
pub(super) const TIMER_VECTOR: u8 = 0x92;
const DIVIDE_VECTOR: u8 = 0;
const INVALID_OPCODE_VECTOR: u8 = 6;
const DOUBLE_FAULT_VECTOR: u8 = 8;
const STACK_VECTOR: u8 = 12;
const PROTECTION_VECTOR: u8 = 13;
const PAGE_FAULT_VECTOR: u8 = 14;

/// Number of configuration-change interrupts so far.
pub(super) static CONFIG_CHANGES: AtomicU32 = AtomicU32::new(0);
/// Address of the local APIC's end-of-interrupt register; 0 means x2APIC mode.
pub(super) static EOI_REGISTER: AtomicU64 = AtomicU64::new(0);

/// Installs the gates for devices and timer.
pub(super) fn install() {
    set_gate(QUEUE_VECTOR, Gate::to(wake_gate as *const () as u64));
    set_gate(TIMER_VECTOR, Gate::to(wake_gate as *const () as u64));
    set_gate(CONFIG_VECTOR, Gate::to(config_gate as *const () as u64));
}

/// Installs gates for the exceptions a program can cause, on the stacks the kernel provides for them. The kernel's own gates
/// print more, but end the machine with a success status.
pub(super) fn install_exceptions() {
    let gates: [(u8, u64); 6] = [
        (DIVIDE_VECTOR, exception_gate::<DIVIDE_VECTOR, 0> as *const () as u64),
        (INVALID_OPCODE_VECTOR, exception_gate::<INVALID_OPCODE_VECTOR, 0> as *const () as u64),
        (DOUBLE_FAULT_VECTOR, exception_gate::<DOUBLE_FAULT_VECTOR, 8> as *const () as u64),
        (STACK_VECTOR, exception_gate::<STACK_VECTOR, 8> as *const () as u64),
        (PROTECTION_VECTOR, exception_gate::<PROTECTION_VECTOR, 8> as *const () as u64),
        (PAGE_FAULT_VECTOR, exception_gate::<PAGE_FAULT_VECTOR, 8> as *const () as u64),
    ];
    for (vector, handler) in gates {
        set_gate(vector, Gate::to(handler).on_stack_of(gate(vector)));
    }
}

/// Reads a word that may be unmapped. Interrupts must be disabled.
pub(super) fn probe(address: u64) -> Option<u64> {
    let mut value = 0;
    let kernel_gate = gate(PAGE_FAULT_VECTOR);
    set_gate(PAGE_FAULT_VECTOR, Gate::to(probe_fault_gate as *const () as u64));
    // SAFETY: a fault in `probe_read` is caught by the gate just set, and nothing else runs meanwhile; `value` is
    // valid for writing.
    let read = unsafe { probe_read(address, &raw mut value) };
    set_gate(PAGE_FAULT_VECTOR, kernel_gate);
    (read != 0).then_some(value)
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate([u64; 2]);

impl Gate {
    /// A present 64-bit interrupt gate on the current stack and code segment.
    fn to(handler: u64) -> Self {
        let selector: u64;
        // SAFETY: reading a segment register has no effect.
        unsafe { asm!("mov {}, cs", out(reg) selector, options(nomem, nostack, preserves_flags)) };
        let low =
            handler & 0xffff | (selector & 0xffff) << 16 | 0x8e00 << 32 | (handler >> 16 & 0xffff) << 48;
        Self([low, handler >> 32])
    }

    /// The same gate with the interrupt stack table index of `other` (bits 32 to 34 of the first word).
    fn on_stack_of(self, other: Self) -> Self {
        const STACK: u64 = 7 << 32;
        Self([self.0[0] & !STACK | other.0[0] & STACK, self.0[1]])
    }
}

fn table() -> *mut Gate {
    let mut descriptor = [0u16; 5];
    // SAFETY: sidt stores ten bytes, which the array has.
    unsafe { asm!("sidt [{}]", in(reg) &raw mut descriptor, options(nostack, preserves_flags)) };
    let [_limit, a, b, c, d] = descriptor.map(u64::from);
    (a | b << 16 | c << 32 | d << 48) as *mut Gate
}

fn gate(vector: u8) -> Gate {
    // SAFETY: the kernel's table has 256 entries of 16 bytes.
    unsafe { ptr::read_volatile(table().add(usize::from(vector))) }
}

fn set_gate(vector: u8, gate: Gate) {
    cpu::interrupts_off();
    // SAFETY: the kernel's table has 256 entries and lies in its writable memory; interrupts are off, and the
    // vectors used are this program's own, or put back before anything else can need them.
    unsafe { ptr::write_volatile(table().add(usize::from(vector)), gate) };
}

/// Acknowledges the interrupt and returns.
#[unsafe(naked)]
extern "C" fn wake_gate() {
    naked_asm!(
        "push rax",
        "push rcx",
        "push rdx",
        "mov rax, [rip + {eoi}]",
        "test rax, rax",
        "jz 2f",
        "mov dword ptr [rax], 0",
        "jmp 3f",
        "2:",
        "mov ecx, 0x80b", // IA32_X2APIC_EOI
        "xor eax, eax",
        "xor edx, edx",
        "wrmsr",
        "3:",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "iretq",
        eoi = sym EOI_REGISTER,
    )
}

/// Counts, then does the same as [`wake_gate`].
#[unsafe(naked)]
extern "C" fn config_gate() {
    naked_asm!(
        "lock inc dword ptr [rip + {count}]",
        "jmp {wake}",
        count = sym CONFIG_CHANGES,
        wake = sym wake_gate,
    )
}

/// `*to = *from`, returns 1; or returns 0 if the read faults, through [`probe_fault_gate`], which resumes after the read.
#[unsafe(naked)]
unsafe extern "C" fn probe_read(from: u64, to: *mut u64) -> u64 {
    naked_asm!(
        "mov eax, 1",
        "mov rcx, [rdi]", // 3 bytes
        "mov [rsi], rcx",
        "ret",
    )
}

/// Skips the faulting 3-byte read in [`probe_read`] and makes it return 0 (it then stores the old value of rcx, which is unused).
#[unsafe(naked)]
extern "C" fn probe_fault_gate() {
    naked_asm!(
        "add rsp, 8", // the error code
        "add qword ptr [rsp], 3",
        "xor eax, eax",
        "iretq",
    )
}

/// Reports an exception and ends the machine. `ERROR_CODE` is the number of bytes the processor pushed before the address.
#[unsafe(naked)]
extern "C" fn exception_gate<const VECTOR: u8, const ERROR_CODE: u8>() {
    naked_asm!(
        "mov edi, {vector}",
        "mov rsi, [rsp + {error_code}]",
        "mov rdx, cr2",
        "and rsp, -16",
        "call {report}",
        "ud2",
        vector = const VECTOR,
        error_code = const ERROR_CODE,
        report = sym exception,
    )
}

extern "C" fn exception(vector: u32, at: u64, address: u64) -> ! {
    // The program is position-independent: only the distance from a named function is meaningful.
    let base = exception as *const () as u64;
    crate::println!(
        "exception {vector} at {at:#x} (netdrv's handler is at {base:#x}), page fault address {address:#x}"
    );
    super::exit(super::EXIT_EXCEPTION)
}
