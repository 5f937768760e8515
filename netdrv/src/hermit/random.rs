//! The program's random bytes, and `sys_read_entropy`, which `getrandom` (and so ring and rustls) reads.
//!
//! libhermit-rs 0.6 answers that call from a Park–Miller generator when the processor has no RDSEED. An image
//! therefore does not export the kernel's but uses this one: a ChaCha20 generator fed by virtio-rng and
//! RDSEED/RDRAND, which answers with an error when there is no real source.

use super::{heap::SingleCore, ring0::Ring0};
use crate::{
    entropy::{Generator, SEED_LEN, processor_seed},
    platform::Platform,
    rng::VirtioRng,
};
use talc::lock_api::Mutex;

/// How long start-up waits for virtio-rng's first answer, in nanoseconds.
const FIRST_SEED_TIMEOUT_NS: u64 = 500_000_000;
/// What `sys_read_entropy` answers without a source: `-ENOSYS`.
const ENOSYS: isize = 38;

static SOURCES: Mutex<SingleCore, Sources> =
    Mutex::new(Sources { generator: Generator::new(), device: None, collected: [0; SEED_LEN], have: 0 });

/// There is no real source of random bytes: no virtio-rng, no RDSEED, no RDRAND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyError;

/// The program's random bytes. Copies share one generator.
#[derive(Clone, Copy, Debug)]
pub struct Entropy(());

impl Entropy {
    /// Fills `bytes`. Reseeds itself every 64 KiB of output.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        SOURCES.lock().fill(bytes)
    }

    /// A random number, for instance to key a hash table.
    pub fn seed_u64(&self) -> Result<u64, EntropyError> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Whether there is a real source.
    #[must_use]
    pub fn is_seeded(&self) -> bool {
        SOURCES.lock().generator.is_seeded()
    }

    /// Sets the sources up and seeds the generator from all of them.
    pub(super) fn start(machine: Ring0, device: Option<VirtioRng<Ring0>>) -> Self {
        let mut sources = SOURCES.lock();
        sources.device = device;
        sources.seed_from_processor();
        sources.ask_device();
        let deadline = machine.now_ns() + FIRST_SEED_TIMEOUT_NS;
        while sources.device.as_ref().is_some_and(VirtioRng::pending) && machine.now_ns() < deadline {
            sources.collect();
        }
        Self(())
    }
}

struct Sources {
    generator: Generator,
    device: Option<VirtioRng<Ring0>>,
    collected: [u8; SEED_LEN],
    have: usize,
}

// SAFETY: the device handle refers to the machine, which one core uses; the lock hands it to one holder at a time.
unsafe impl Send for Sources {}

impl Sources {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if self.device.is_some() {
            self.collect();
        }
        if self.generator.wants_seed() {
            self.seed_from_processor();
            self.ask_device();
        }
        self.generator.fill(bytes).map_err(|_| EntropyError)
    }

    fn seed_from_processor(&mut self) {
        if let Some(seed) = processor_seed() {
            self.generator.add_seed(&seed);
        }
    }

    fn ask_device(&mut self) {
        if let Some(device) = &mut self.device {
            device.request(SEED_LEN - self.have);
        }
    }

    /// Takes what the device has delivered; a whole seed goes into the generator, for less it is asked again.
    fn collect(&mut self) {
        let Some(device) = &mut self.device else { return };
        match device.take(&mut self.collected[self.have..]) {
            Ok(None) => {}
            Ok(Some(count)) => {
                self.have += count;
                if self.have == SEED_LEN {
                    self.generator.add_seed(&self.collected);
                    self.collected.fill(0);
                    self.have = 0;
                } else {
                    self.ask_device();
                }
            }
            Err(error) => {
                crate::println!("virtio-rng broke the protocol ({error:?}) and is switched off");
                self.device = None;
            }
        }
    }
}

/// Fills `len` bytes at `buffer` and answers `len`, or `-ENOSYS` without a real source. `flags` are ignored: it
/// never blocks, and there is one generator.
///
/// # Safety
///
/// `buffer` must be valid for writing `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn sys_read_entropy(buffer: *mut u8, len: usize, _flags: u32) -> isize {
    if buffer.is_null() || len == 0 {
        return 0;
    }
    let len = len.min(isize::MAX as usize);
    // SAFETY: the caller's promise; the bytes are zeroed first, so the slice is initialised.
    let bytes = unsafe {
        buffer.write_bytes(0, len);
        core::slice::from_raw_parts_mut(buffer, len)
    };
    match SOURCES.lock().fill(bytes) {
        Ok(()) => len as isize,
        Err(EntropyError) => -ENOSYS,
    }
}
