//! Search-and-replace rules that make the kernel's source compile with a current rustc, and fix its defects.
//!
//! A rule names a file, the text to replace, and how often it occurs. If it occurs another number of times, the source is not the
//! one that the rule was written for, and the build stops with an error.

use anyhow::{Context, Result, ensure};
use std::path::Path;

/// One search-and-replace rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// File, relative to the directory that holds the packages.
    pub(crate) file: &'static str,
    /// Text to replace.
    pub(crate) from: &'static str,
    /// Replacement.
    pub(crate) to: &'static str,
    /// How often the text occurs.
    pub(crate) times: usize,
}

/// The attribute of naked functions changed after the kernel's release.
const NAKED: &str = "#[naked]";
const UNSAFE_NAKED: &str = "#[unsafe(naked)]";

/// Every rule, in the order of application.
pub(crate) const RULES: &[Rule] = &[
    // Naked functions: the attribute is unsafe now, and the body is one `naked_asm!`, which never returns.
    rule("libhermit-rs/src/arch/x86_64/kernel/start.rs", NAKED, UNSAFE_NAKED, 1),
    rule(
        "libhermit-rs/src/arch/x86_64/kernel/start.rs",
        "use core::arch::asm;",
        "use core::arch::naked_asm;",
        1,
    ),
    rule("libhermit-rs/src/arch/x86_64/kernel/start.rs", "unsafe {\n\t\tasm!(", "{\n\t\tnaked_asm!(", 1),
    rule("libhermit-rs/src/arch/x86_64/kernel/start.rs", "\t\t\toptions(noreturn)\n", "", 1),
    rule("libhermit-rs/src/arch/x86_64/kernel/scheduler.rs", NAKED, UNSAFE_NAKED, 1),
    rule(
        "libhermit-rs/src/arch/x86_64/kernel/scheduler.rs",
        "use core::arch::asm;",
        "use core::arch::naked_asm;",
        1,
    ),
    rule("libhermit-rs/src/arch/x86_64/kernel/scheduler.rs", "unsafe {\n\t\tasm!(", "{\n\t\tnaked_asm!(", 1),
    rule("libhermit-rs/src/arch/x86_64/kernel/scheduler.rs", "\t\t\toptions(noreturn)\n", "", 1),
    rule("libhermit-rs/src/arch/x86_64/kernel/switch.rs", NAKED, UNSAFE_NAKED, 2),
    rule(
        "libhermit-rs/src/arch/x86_64/kernel/switch.rs",
        "use core::arch::asm;",
        "use core::arch::{asm, naked_asm};",
        1,
    ),
    rule(
        "libhermit-rs/src/arch/x86_64/kernel/switch.rs",
        "unsafe {\n\t\tasm!(\n\t\t\tsave_context!(),",
        "{\n\t\tnaked_asm!(\n\t\t\tsave_context!(),",
        2,
    ),
    rule("libhermit-rs/src/arch/x86_64/kernel/switch.rs", "\t\t\toptions(noreturn)\n", "", 1),
    rule("libhermit-rs/src/arch/x86_64/kernel/switch.rs", "\t\t\toptions(noreturn),\n", "", 1),
    // Renamed in the library.
    rule(
        "libhermit-rs/src/arch/x86_64/mm/paging.rs",
        "ptr::from_exposed_addr_mut",
        "ptr::with_exposed_provenance_mut",
        1,
    ),
    rule("talc/src/talck.rs", "new_layout.dangling()", "new_layout.dangling_ptr()", 1),
    rule("talc/src/lib.rs", "#![feature(pointer_is_aligned)]", "#![feature(pointer_is_aligned_to)]", 1),
    // Heap: `total_memory_size` counts from the kernel's end if the loader provides a memory map. Subtracting the memory below
    // the kernel's end again would cost 10 MiB and twice the size of the bundle.
    rule(
        "libhermit-rs/src/mm/mod.rs",
        "< kernel_end_address().as_usize() - env::get_ram_address().as_usize()\n\t\t\t+ reserved_space",
        "< reserved_space",
        1,
    ),
    rule(
        "libhermit-rs/src/mm/mod.rs",
        "(total_memory_size()\n\t\t- (kernel_end_address().as_usize() - env::get_ram_address().as_usize())\n\t\t- reserved_space)",
        "(total_memory_size() - reserved_space)",
        1,
    ),
    // Free memory: if a region of the firmware's memory map begins inside the image (as with UEFI), the kernel treated that part
    // as free.
    rule(
        "libhermit-rs/src/arch/x86_64/mm/physicalmem.rs",
        "if m.base_address() <= mm::kernel_start_address().as_u64()",
        "if m.base_address() <= mm::kernel_end_address().as_u64()",
        1,
    ),
    // Panics: the kernel powered off through ACPI tables, which are missing early on, and then hung. Now a panic prints one line,
    // sets QEMU's exit status, and cannot recurse.
    rule(
        "libhermit-rs/src/lib.rs",
        "\tlet core_id = crate::arch::core_local::core_id();\n\tprintln!(\"[{core_id}][PANIC] {info}\");\n\n\tcrate::__sys_shutdown(1);",
        PANIC,
        1,
    ),
    rule(
        "libhermit-rs/src/arch/x86_64/kernel/processor.rs",
        "let exit_handler = qemu_exit::X86::new(0xf4, 3);",
        POWER_OFF,
        1,
    ),
    rule("libhermit-rs/src/mm/mod.rs", "panic!(\"No enough memory available!\");", TOO_LITTLE, 1),
    // Heap: require one more step. With less, the heap has no size, which causes another panic without an explanation.
    rule(
        "libhermit-rs/src/mm/mod.rs",
        "\t\t\t+ LargePageSize::SIZE as usize\n\t{",
        "\t\t\t+ 2 * LargePageSize::SIZE as usize\n\t{",
        1,
    ),
];

/// Prints and exits like `netdrv::hermit`'s panic handler, with the status `EXIT_PANIC`.
const PANIC: &str =
    "\tstatic PANICKING: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
\tif !PANICKING.swap(true, core::sync::atomic::Ordering::Relaxed) {
\t\tmatch info.location() {
\t\t\tSome(place) => println!(\"panic at {}:{}: {}\", place.file(), place.line(), info.message()),
\t\t\tNone => println!(\"panic: {}\", info.message()),
\t\t}
\t}
\tunsafe { ::x86::io::outl(0xf4, 2) };
\tcrate::arch::processor::shutdown()";

/// Powers off through QEMU's ACPI ports, for a kernel that has not read the tables yet.
const POWER_OFF: &str = "unsafe {
\t\t\t\t\t\t::x86::io::outw(0x604, 0x2000);
\t\t\t\t\t\t::x86::io::outw(0xb004, 0x2000);
\t\t\t\t\t}
\t\t\t\t\tlet exit_handler = qemu_exit::X86::new(0xf4, 3);";

const TOO_LITTLE: &str = "panic!(
\t\t\t\"{} MiB of memory are left behind the image, expected {} at least: give the machine more\",
\t\t\ttotal_memory_size() >> 20,
\t\t\t((reserved_space + 2 * LargePageSize::SIZE as usize) >> 20) + 1
\t\t);";

const fn rule(file: &'static str, from: &'static str, to: &'static str, times: usize) -> Rule {
    Rule { file, from, to, times }
}

/// Applies all `rules` below `dir`.
pub(crate) fn apply(rules: &[Rule], dir: &Path) -> Result<()> {
    rules.iter().try_for_each(|rule| rule.apply(dir))
}

impl Rule {
    fn apply(&self, dir: &Path) -> Result<()> {
        let path = dir.join(self.file);
        let old = std::fs::read_to_string(&path)
            .with_context(|| format!("compile fix: reading {}", path.display()))?;
        let new = self.edit(&old)?;
        std::fs::write(&path, new).with_context(|| format!("compile fix: writing {}", path.display()))
    }

    fn edit(&self, old: &str) -> Result<String> {
        let found = old.matches(self.from).count();
        ensure!(
            found == self.times,
            "compile fix for {} does not match: {:?} occurs {found} times, expected {}",
            self.file,
            self.from,
            self.times
        );
        Ok(old.replace(self.from, self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = rule("a/b.rs", "old()", "new()", 2);

    #[test]
    fn applies_when_the_count_is_right() {
        assert_eq!(RULE.edit("old(); x; old();").expect("matches"), "new(); x; new();");
    }

    #[test]
    fn fails_loudly_when_the_source_is_another() {
        for source in ["", "old();", "old(); old(); old();", "new(); new();"] {
            let error = RULE.edit(source).expect_err("must not match").to_string();
            assert!(error.starts_with("compile fix for a/b.rs does not match"), "{error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert!(apply(&[RULE], dir.path()).is_err());
    }
}
