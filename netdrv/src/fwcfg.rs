//! QEMU's firmware configuration device, `fw_cfg` (QEMU's `docs/specs/fw_cfg`): named byte strings that the host passes to a
//! machine with `-fw_cfg name=NAME,file=FILE`.
//!
//! Contents are read through the device's DMA interface if it has one, 64 KiB at a time: reading a megabyte byte by byte through
//! the port would take a million exits. Devices without DMA are read that way.

use crate::{
    dma::{DmaBuffer as _, InBuffer},
    platform::Platform,
};
use alloc::vec::Vec;
use core::{fmt, sync::atomic::Ordering, sync::atomic::fence};

const KEY_SIGNATURE: u16 = 0x00;
const KEY_FEATURES: u16 = 0x01;
const KEY_RAM_SIZE: u16 = 0x03;
const KEY_DIRECTORY: u16 = 0x19;
const SIGNATURE: [u8; 4] = *b"QEMU";
const FEATURE_DMA: u32 = 1 << 1;
const DMA_ERROR: u32 = 1 << 0;
const DMA_READ: u32 = 1 << 1;
const DMA_SELECT: u32 = 1 << 3;
/// Control word (32 bits), length (32) and address (64), all big-endian.
const DMA_ACCESS_LEN: usize = 16;
const CHUNK: u32 = 64 << 10;
/// How often the control word is polled before giving up. QEMU finishes before the write that starts it returns.
const PATIENCE: u32 = 1_000_000;
/// An entry of the directory: size (32 bits), key (16), reserved (16), name; big-endian.
const ENTRY_LEN: usize = 64;
const NAME_AT: usize = 8;
/// Maximum number of directory entries, more than any machine has.
const MAX_FILES: u32 = 4096;

/// The device's registers.
pub trait FwCfgPorts {
    /// Selects an item; reading starts at its first byte.
    fn select(&self, key: u16);
    /// Reads the next byte of the selected item; 0 after its end, all ones if there is no device.
    fn read_byte(&self) -> u8;
    /// Passes the bus address of an access structure for the device to execute.
    fn start_dma(&self, access: u64);
}

/// Why an item could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FwCfgError {
    /// The device reported an error.
    Failed,
    /// The device did not finish.
    Stuck,
    /// The directory claims this many files.
    Directory(u32),
    /// Not enough memory for a file of this many bytes.
    TooLarge(u32),
}

impl fmt::Display for FwCfgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("the device reported an error"),
            Self::Stuck => f.write_str("the device did not finish"),
            Self::Directory(count) => {
                write!(f, "the directory claims {count} files, expected {MAX_FILES} at most")
            }
            Self::TooLarge(len) => write!(f, "{len} bytes do not fit into memory"),
        }
    }
}

impl core::error::Error for FwCfgError {}

/// The device.
#[derive(Debug)]
pub struct FwCfg<P> {
    ports: P,
    /// Access structure and data; `None` if the device has no DMA.
    buffer: Option<InBuffer>,
    /// Item to select with the next access.
    selected: Option<u16>,
}

impl<P: FwCfgPorts> FwCfg<P> {
    /// The device, or `None` if this machine has none.
    pub fn find(ports: P, platform: &impl Platform) -> Option<Self> {
        let mut device = Self { ports, buffer: None, selected: None };
        let mut word = [0; 4];
        device.select(KEY_SIGNATURE);
        device.fill(&mut word).ok()?;
        if word != SIGNATURE {
            return None;
        }
        device.select(KEY_FEATURES);
        device.fill(&mut word).ok()?;
        if u32::from_le_bytes(word) & FEATURE_DMA != 0 {
            let region = platform.dma_alloc(DMA_ACCESS_LEN + CHUNK as usize);
            device.buffer = region.and_then(|region| {
                let len = u32::try_from(region.len()).ok()?;
                region.split(len).next()
            });
        }
        Some(device)
    }

    /// The content of the file of this name; `None` if the host provides none.
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, FwCfgError> {
        let Some((key, len)) = self.look_up(name)? else { return Ok(None) };
        let mut content = Vec::new();
        content.try_reserve_exact(len as usize).map_err(|_| FwCfgError::TooLarge(len))?;
        content.resize(len as usize, 0);
        self.select(key);
        self.fill(&mut content)?;
        Ok(Some(content))
    }

    /// The machine's memory in bytes.
    pub fn ram_bytes(&mut self) -> Result<u64, FwCfgError> {
        let mut bytes = [0; 8];
        self.select(KEY_RAM_SIZE);
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Key and length of a file.
    fn look_up(&mut self, name: &str) -> Result<Option<(u16, u32)>, FwCfgError> {
        self.select(KEY_DIRECTORY);
        let mut count = [0; 4];
        self.fill(&mut count)?;
        let count = u32::from_be_bytes(count);
        if count > MAX_FILES {
            return Err(FwCfgError::Directory(count));
        }
        for _ in 0..count {
            let mut entry = [0; ENTRY_LEN];
            self.fill(&mut entry)?;
            let [s0, s1, s2, s3, k0, k1, ..] = entry;
            let found = entry[NAME_AT..].split(|&b| b == 0).next().unwrap_or_default();
            if found == name.as_bytes() {
                return Ok(Some((u16::from_be_bytes([k0, k1]), u32::from_be_bytes([s0, s1, s2, s3]))));
            }
        }
        Ok(None)
    }

    fn select(&mut self, key: u16) {
        self.selected = Some(key);
    }

    /// Reads the next bytes of the selected item.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), FwCfgError> {
        let Some(buffer) = &mut self.buffer else {
            if let Some(key) = self.selected.take() {
                self.ports.select(key);
            }
            bytes.fill_with(|| self.ports.read_byte());
            return Ok(());
        };
        for piece in bytes.chunks_mut(CHUNK as usize) {
            let control = match self.selected.take() {
                Some(key) => DMA_READ | DMA_SELECT | u32::from(key) << 16,
                None => DMA_READ,
            };
            let address = buffer.device_address();
            let mut access = [0; DMA_ACCESS_LEN];
            access[..4].copy_from_slice(&control.to_be_bytes());
            // A piece is at most CHUNK bytes long.
            access[4..8].copy_from_slice(&(piece.len() as u32).to_be_bytes());
            access[8..].copy_from_slice(&(address + DMA_ACCESS_LEN as u64).to_be_bytes());
            if !buffer.write(0, &access) {
                return Err(FwCfgError::Failed);
            }
            fence(Ordering::SeqCst);
            self.ports.start_dma(address);
            wait(buffer)?;
            if !buffer.copy_out(DMA_ACCESS_LEN, piece) {
                return Err(FwCfgError::Failed);
            }
        }
        Ok(())
    }
}

/// Waits until the device has cleared the control word.
fn wait(buffer: &InBuffer) -> Result<(), FwCfgError> {
    for _ in 0..PATIENCE {
        let control = buffer.read(0).map_or(DMA_ERROR, u32::from_be_bytes);
        fence(Ordering::SeqCst);
        match control {
            0 => return Ok(()),
            control if control & DMA_ERROR != 0 => return Err(FwCfgError::Failed),
            _ => core::hint::spin_loop(),
        }
    }
    Err(FwCfgError::Stuck)
}
