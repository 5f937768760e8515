//! Sizes of a program's parts, from LLVM's linker map. Its lines have address, load address, size, alignment, and then an output
//! section; below it `FILE(MEMBER):(SECTION)`, and below that the symbols of the file.

/// The crates of the TLS stack that are written in Rust. Link-time optimisation merges crates, so only symbols tell them apart.
const TLS_CRATES: &[&str] = &[
    "rustls",
    "rustls_pki_types",
    "webpki",
    "ring",
    "x509_cert",
    "der",
    "spki",
    "const_oid",
    // On links to workers.
    "embedded_tls",
    "p256",
    "primeorder",
    "ecdsa",
    "elliptic_curve",
    "crypto_bigint",
    "sec1",
    "sha2",
    "hkdf",
    "hmac",
];

/// Bytes of a program's parts in its file; zero-initialised memory occupies none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The kernel: the archive named `libhermit-…`.
    pub(crate) kernel: u64,
    /// The TLS stack: *ring*'s objects, and the functions and tables of [`TLS_CRATES`]. Inlined functions count for their
    /// callers; unnamed constants are not counted.
    pub(crate) tls: u64,
}

enum Origin {
    Kernel,
    Ring,
    Nothing,
    Rest,
}

impl Parts {
    pub(crate) fn of(map: &str) -> Self {
        let mut parts = Self::default();
        let mut origin = Origin::Rest;
        for line in map.lines() {
            let Some((size, what)) = row(line) else { continue };
            if let Some((file, section)) = what.rsplit_once(":(") {
                origin = match () {
                    () if section.starts_with(".bss") || section.starts_with(".tbss") => Origin::Nothing,
                    () if file.contains("libhermit-") => Origin::Kernel,
                    () if file.contains("libring-") => Origin::Ring,
                    () => Origin::Rest,
                };
                match origin {
                    Origin::Kernel => parts.kernel += size,
                    Origin::Ring => parts.tls += size,
                    Origin::Nothing | Origin::Rest => {}
                }
            } else if matches!(origin, Origin::Rest) && TLS_CRATES.contains(&crate_of(what)) {
                parts.tls += size;
            }
        }
        parts
    }
}

/// Size in bytes and subject of a line.
fn row(line: &str) -> Option<(u64, &str)> {
    let mut rest = line;
    let mut size = 0;
    for column in 0..4 {
        let (word, behind) = rest.trim_start().split_once(' ')?;
        if column == 2 {
            size = u64::from_str_radix(word, 16).ok()?;
        }
        rest = behind;
    }
    Some((size, rest.trim()))
}

/// The first crate in a symbol's path: that of the type for `<rustls::X as core::fmt::Debug>::fmt`.
fn crate_of(symbol: &str) -> &str {
    let path = symbol.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    let path = ["mut ", "dyn "].iter().fold(path, |path, word| path.strip_prefix(word).unwrap_or(path));
    path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_counted_in_the_map() {
        let map = "             VMA              LMA     Size Align Out     In      Symbol\n\
                   \x20          11000            11000       20     1 .text\n\
                   \x20          11000            11000       10     1         /t/a.o:(.text)\n\
                   \x20          11000            11000        4     1                 appliance::main\n\
                   \x20          11004            11004        5     1                 rustls::client::hs\n\
                   \x20          11009            11009        6     1                 <rustls::X as core::fmt::Debug>::fmt\n\
                   \x20          1100f            1100f        7     1                 <alloc::vec::Vec<rustls::X>>::push\n\
                   \x20          11010            11010      100     1         /t/libring-1.rlib(sha.o):(.text)\n\
                   \x20          11010            11010       40     1                 ring::sha\n\
                   \x20          11110            11110       1f     1         /t/libhermit-0a.a(hermit.o):(.text)\n\
                   \x20          11110            11110        0     1                 _start\n\
                   \x20          12000            12000     1000     1         /t/libhermit-0a.a(hermit.o):(.bss)\n\
                   \x20          13000            13000     1000     1         /t/a.o:(.bss.rustls)\n\
                   \x20          13000            13000     1000     1                 rustls::CACHE\n";
        assert_eq!(Parts::of(map), Parts { kernel: 0x1f, tls: 5 + 6 + 0x100 });
    }
}
