//! Checks the machine's memory before the loader runs, and powers off if there is too little for the image.
//!
//! The loader and the kernel do not check for memory: with too little, one hangs, and the other writes to addresses without
//! memory. The image builder (`image::gate`) therefore copies these bytes from the linked program to a segment of the loader,
//! makes them its entry point, and fills in their address, how much memory the image needs, and the loader's own entry point.
//! Nothing in the program calls them.
//!
//! State at entry (Multiboot specification 0.6.96 §3.2): 32-bit protected mode, flat segments, no paging, no stack; EAX has the
//! magic and EBX the address of the boot information, and both are preserved. The amount of memory is the end of the highest
//! available region in the memory map; a machine without a map is passed to the loader. Memory beyond 4 GiB always suffices.
//!
//! With too little memory it writes one line to the first serial port, 1 ([`super::EXIT_FAILURE`]) to QEMU's `isa-debug-exit`
//! device, and powers off through the ACPI ports of QEMU (0x604, 0xb004 with older firmware) and VirtualBox (0x4004). If none of
//! these exists, it halts.

use core::arch::global_asm;

global_asm!(
    ".pushsection .rodata.weir_gate,\"aR\",@progbits",
    ".code32",
    ".balign 16",
    // Layout known to the builder: see `image::gate`.
    ".Lgate:",
    ".ascii \"\\177WEIR-GATE-0001\\n\"",
    ".long .Lgate_end - .Lgate",           // 16: length in bytes
    ".long .Lgate_code - .Lgate",          // 20: where the code begins
    ".long 0",                             // 24: MiB that the image needs
    ".long 0",                             // 28: the loader's entry
    ".zero 96",                            // 32: what follows the machine's MiB, ends with 0
    ".asciz \"error: this machine has \"", // 128
    ".balign 16",
    ".Lgate_code:",
    "mov esi, 0", // the gate's address, in the instruction's last four bytes
    "cmp eax, 0x2badb002",
    "jne .Lgate_leave",
    "test dword ptr [ebx], 0x40", // a memory map is there
    "jz .Lgate_leave",
    "mov edi, dword ptr [ebx + 44]",
    "mov edx, dword ptr [ebx + 48]",
    "add edi, edx",
    "xor ebp, ebp",
    ".Lgate_region:", // EDX to EDI: the map; EBP: MiB so far
    "cmp edx, edi",
    "jae .Lgate_judge",
    "cmp dword ptr [edx + 20], 1", // available
    "jne .Lgate_next",
    "mov eax, dword ptr [edx + 4]",
    "mov ecx, dword ptr [edx + 8]",
    "add eax, dword ptr [edx + 12]",
    "adc ecx, dword ptr [edx + 16]",
    "jnz .Lgate_pass",
    "add eax, 0xfffff", // firmware keeps some KiB at the end
    "jc .Lgate_pass",
    "shr eax, 20",
    "cmp eax, ebp",
    "jbe .Lgate_next",
    "mov ebp, eax",
    ".Lgate_next:",
    "mov eax, dword ptr [edx]",
    "lea edx, [edx + eax + 4]",
    "jmp .Lgate_region",
    ".Lgate_judge:",
    "test ebp, ebp",
    "jz .Lgate_pass",
    "cmp ebp, dword ptr [esi + 24]",
    "jb .Lgate_refuse",
    ".Lgate_pass:",
    "mov eax, 0x2badb002",
    ".Lgate_leave:",
    "jmp dword ptr [esi + 28]",
    //
    ".Lgate_refuse:",
    "mov esp, esi",
    "add esp, dword ptr [esi + 16]", // a stack of its own, at its end
    "mov edi, 0x000003f9",           // no interrupts
    "call .Lgate_out",
    "mov edi, 0x008003fb", // 115,200 baud
    "call .Lgate_out",
    "mov edi, 0x000103f8",
    "call .Lgate_out",
    "mov edi, 0x000003f9",
    "call .Lgate_out",
    "mov edi, 0x000303fb", // 8 bits, no parity, 1 stop bit
    "call .Lgate_out",
    "lea edi, [esi + 128]",
    "call .Lgate_print",
    "mov ecx, 1000", // less than 4 GiB have at most four digits of MiB
    "xor edi, edi",
    ".Lgate_digit:",
    "mov eax, ebp",
    "xor edx, edx",
    "div ecx",
    "mov ebp, edx",
    "or edi, eax",
    "jz .Lgate_leading_zero",
    "add al, 48",
    "call .Lgate_put",
    ".Lgate_leading_zero:",
    "mov eax, ecx",
    "xor edx, edx",
    "mov ecx, 10",
    "div ecx",
    "mov ecx, eax",
    "test ecx, ecx",
    "jnz .Lgate_digit",
    "lea edi, [esi + 32]",
    "call .Lgate_print",
    "mov ebx, 0x40", // all sent
    "call .Lgate_wait",
    "mov dx, 0xf4",
    "mov eax, 1",
    "out dx, eax",
    "mov ax, 0x2000", // sleep type 0, enable
    "mov dx, 0x604",
    "out dx, ax",
    "mov dx, 0xb004",
    "out dx, ax",
    "mov ax, 0x3400",
    "mov dx, 0x4004",
    "out dx, ax",
    ".Lgate_halt:",
    "cli",
    "hlt",
    "jmp .Lgate_halt",
    //
    ".Lgate_out:", // the byte in EDI's upper half to the port in its lower one
    "mov edx, edi",
    "mov eax, edi",
    "shr eax, 16",
    "out dx, al",
    "ret",
    ".Lgate_print:", // the text at EDI
    "mov al, byte ptr [edi]",
    "test al, al",
    "jz .Lgate_printed",
    "inc edi",
    "call .Lgate_put",
    "jmp .Lgate_print",
    ".Lgate_printed:",
    "ret",
    ".Lgate_put:", // the character in AL
    "push eax",
    "mov ebx, 0x20", // room for one
    "call .Lgate_wait",
    "pop eax",
    "mov dx, 0x3f8",
    "out dx, al",
    "ret",
    ".Lgate_wait:", // for a bit in BL of the serial port's status; not for ever, as there may be no port
    "push ecx",
    "mov ecx, 100000",
    "mov dx, 0x3fd",
    ".Lgate_ask:",
    "in al, dx",
    "test al, bl",
    "jnz .Lgate_answered",
    "dec ecx",
    "jnz .Lgate_ask",
    ".Lgate_answered:",
    "pop ecx",
    "ret",
    ".balign 16",
    ".zero 64", // the stack
    ".Lgate_end:",
    ".code64",
    ".popsection",
);
