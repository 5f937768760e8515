use super::*;

const CODE_AT: usize = 160;

/// A program with a gate like netdrv's.
fn program() -> Vec<u8> {
    let mut gate = vec![0; 256];
    gate[..16].copy_from_slice(MAGIC);
    gate[LEN..LEN + 4].copy_from_slice(&256u32.to_le_bytes());
    gate[CODE..CODE + 4].copy_from_slice(&(CODE_AT as u32).to_le_bytes());
    gate[CODE_AT] = 0xbe;
    [vec![1; 100], gate, vec![2; 100]].concat()
}

/// Two segments, the second with zero-initialised memory, and a stack header.
fn loader() -> Vec<u8> {
    let word = |n: u32| n.to_le_bytes();
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    elf.extend([1, 0x10_1000, 52, 0, 0].map(word).concat());
    elf.extend([52u16, 32, 3, 0, 0, 0].map(u16::to_le_bytes).concat());
    for (kind, address, file, memory) in
        [(1, 0x10_0000, 20, 20), (1, 0x10_1000, 20, 0x2018), (0x6474_e551, 0, 0, 0)]
    {
        elf.extend([kind, 0, address, address, file, memory, 5, 4096].map(word).concat());
    }
    elf
}

fn segments(elf: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    let header = FileHeader32::<LE>::parse(elf).expect("an ELF");
    let loads = header.program_headers(LE, elf).expect("headers").iter().filter(|s| s.p_type(LE) == PT_LOAD);
    loads.map(|s| (s.p_paddr(LE), s.p_memsz(LE), s.data(LE, elf).expect("inside").to_vec())).collect()
}

#[test]
fn the_gate_is_the_entry_and_leads_to_the_loaders_own() {
    let gated = install(&loader(), &program(), 26).expect("a loader");
    let [.., (address, len, gate)] = &segments(&gated)[..] else { panic!("no segments") };
    assert_eq!((segments(&gated).len(), *address, *len), (3, 0x10_3020, 256));
    let header = FileHeader32::<LE>::parse(&*gated).expect("an ELF");
    assert_eq!(header.e_entry.get(LE), address + CODE_AT as u32);
    let at = |at| number(gate, at).expect("inside");
    assert_eq!((at(LEAST), at(ENTRY), at(CODE_AT + 1)), (26, 0x10_1000, *address));
    let text = gate[TEXT].split(|&b| b == 0).next().expect("a text");
    assert_eq!(text, b" MiB of memory, this image needs 26: give it 26 MiB or more\r\n");
}

/// The gate requires the same as `model::memory`, whatever the number.
#[test]
fn it_speaks_as_the_appliance_does() {
    for needs_mib in [26, 4_096, u32::MAX] {
        let gated = install(&loader(), &program(), needs_mib).expect("a loader");
        let (_, _, gate) = segments(&gated).pop().expect("the gate");
        let text = gate[TEXT].split(|&b| b == 0).next().expect("a text");
        let said = format!("this machine has 24{}", String::from_utf8_lossy(text));
        let error = model::memory::TooLittleMemory { has_mib: Some(24), needs_mib };
        assert_eq!(said.trim_end(), error.to_string());
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let words =
        |loader: &[u8], program: &[u8]| install(loader, program, 26).expect_err("refused").to_string();
    assert!(words(&loader(), b"nothing").starts_with("the program has no memory check"));
    let twice = [program(), program()].concat();
    assert!(words(&loader(), &twice).starts_with("the program has more than one"));
    assert!(words(&loader(), &program()[..200]).contains("truncated"));
    assert!(words(b"no ELF", &program()).starts_with("the loader is not a 32-bit"));
    let mut other = loader();
    let stack = other.len() - 32;
    other[stack..stack + 4].copy_from_slice(&0u32.to_le_bytes());
    assert!(words(&other, &program()).starts_with("the loader has no PT_GNU_STACK"));
    for len in 0..loader().len() {
        let _ = install(&loader()[..len], &program(), 26);
    }
}
