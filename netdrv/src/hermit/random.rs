//! Random bytes for the program, and `sys_read_entropy` for `getrandom` (and so for ring and rustls).
//!
//! libhermit-rs 0.6 implements that call with a Park–Miller generator if the processor has no RDSEED. Images therefore do not
//! export the kernel's version but use this one: a ChaCha20 generator seeded by virtio-rng and RDSEED/RDRAND, which fails if
//! there is no real source.

use super::{heap::SingleCore, ring0::Ring0};
use crate::{
    entropy::{
        Generator, Source, Status,
        health::{Health, STARTUP_SAMPLES},
        processor_is_source, processor_samples,
    },
    platform::Platform,
    rng::{MAX_REQUEST, VirtioRng},
};
use talc::lock_api::Mutex;

/// Time limit for virtio-rng's first result during startup, in nanoseconds.
const FIRST_SEED_TIMEOUT_NS: u64 = 500_000_000;
/// Error of `sys_read_entropy` without a source: `-ENOSYS`.
const ENOSYS: isize = 38;

static SOURCES: Mutex<SingleCore, Sources> = Mutex::new(Sources {
    generator: Generator::new(),
    machine: None,
    processor: Health::new(),
    device: None,
    device_health: Health::new(),
    device_failed: false,
});

/// There is no real source of random bytes: no virtio-rng, RDSEED or RDRAND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyError;

/// The random number generator. Copies share its state.
#[derive(Clone, Copy, Debug)]
pub struct Entropy(());

impl Entropy {
    /// Fills `bytes`. Reseeds every 64 KiB of output and every five minutes.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        SOURCES.lock().fill(bytes)
    }

    /// A random number, for instance as the key of a hash table.
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

    /// The state of the generator and its sources.
    #[must_use]
    pub fn status() -> Status {
        SOURCES.lock().status()
    }

    /// Initialises the sources and seeds the generator from all of them.
    pub(super) fn start(machine: Ring0, device: Option<VirtioRng<Ring0>>) -> Self {
        let mut sources = SOURCES.lock();
        sources.machine = Some(machine);
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
    /// Source of the time; `None` before startup.
    machine: Option<Ring0>,
    processor: Health,
    device: Option<VirtioRng<Ring0>>,
    device_health: Health,
    device_failed: bool,
}

// SAFETY: the device handle refers to the machine, which one core uses; the lock hands it to one holder at a time.
unsafe impl Send for Sources {}

impl Sources {
    fn now_ns(&self) -> u64 {
        self.machine.as_ref().map_or(0, Platform::now_ns)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if self.device.is_some() {
            self.collect();
        }
        if self.generator.wants_seed(self.now_ns()) {
            self.seed_from_processor();
            self.ask_device();
        }
        self.generator.fill(bytes).map_err(|_| EntropyError)
    }

    fn status(&self) -> Status {
        let (seeds, bytes) = self.generator.totals();
        Status {
            seeded: self.generator.is_seeded(),
            processor: match (processor_is_source(), self.processor.has_failed()) {
                (false, _) => Source::Absent,
                (true, false) => Source::Good,
                (true, true) => Source::Failed,
            },
            device: match (&self.device, self.device_failed) {
                (None, false) => Source::Absent,
                (Some(_), _) => Source::Good,
                (None, true) => Source::Failed,
            },
            seeds,
            bytes,
        }
    }

    fn seed_from_processor(&mut self) {
        let mut samples = [0; STARTUP_SAMPLES];
        if self.processor.has_failed() || !processor_samples(&mut samples) {
            return;
        }
        match self.processor.take(&samples[..self.processor.wanted()]) {
            Some(seed) => self.generator.add_seed(seed, self.now_ns()),
            None => crate::println!("RDSEED or RDRAND failed a health test and is not used any more"),
        }
    }

    fn ask_device(&mut self) {
        let wanted = self.device_health.wanted().min(MAX_REQUEST);
        if let Some(device) = &mut self.device {
            device.request(wanted);
        }
    }

    /// Collects what the device has delivered: a seed, or, during the start-up tests, a reason to request more.
    fn collect(&mut self) {
        let Some(device) = &mut self.device else { return };
        let mut samples = [0; MAX_REQUEST];
        let failure = match device.take(&mut samples) {
            Ok(None) => return,
            Ok(Some(count)) => match self.device_health.take(&samples[..count]) {
                Some(seed) => return self.generator.add_seed(seed, self.now_ns()),
                None if !self.device_health.has_failed() => return self.ask_device(),
                None => "failed a health test",
            },
            Err(_) => "broke the protocol",
        };
        crate::println!("virtio-rng {failure} and is not used any more");
        self.device = None;
        self.device_failed = true;
    }
}

/// Fills `len` bytes at `buffer` and returns `len`, or `-ENOSYS` without a real source. `flags` are ignored, because it never
/// blocks and there is only one generator.
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
