//! The images that a configuration needs.

use anyhow::{Context, Result};
use image::config::{Config, VmImage, WorkerKind};
use image::{Image, Program};
use std::path::PathBuf;

/// Built images.
#[derive(Clone, Debug)]
pub struct Images {
    /// The appliance with its bundle.
    pub appliance: Image,
    /// The demo worker and its loader, which boots any Hermit worker, if a pool has one.
    pub worker: Option<Image>,
}

impl Images {
    /// Builds what `config` needs into `out` or the target directory, with progress on standard error.
    pub fn build(config: &Config, kernel: Option<PathBuf>, out: Option<PathBuf>) -> Result<Self> {
        let mut options = image::Options::new()?;
        options.kernel = kernel;
        options.out_dir = out.unwrap_or(options.out_dir);
        let progress = |line: &str| eprintln!("[image] {line}");
        let appliance = image::build(config, &options, &progress).context("the appliance")?;
        let worker = if boots(config, |image| matches!(image, VmImage::Worker | VmImage::Elf(_))) {
            Some(image::build_program(Program::Worker, &options, &progress).context("the worker")?)
        } else {
            None
        };
        Ok(Self { appliance, worker })
    }

    /// Builds the demo worker and its loader, which boots any Hermit worker, into `out`, if `config` has one.
    pub(crate) fn worker(config: &Config, kernel: Option<PathBuf>, out: PathBuf) -> Result<Option<Image>> {
        if !boots(config, |image| matches!(image, VmImage::Worker | VmImage::Elf(_))) {
            return Ok(None);
        }
        let options = image::Options { kernel, out_dir: out, ..image::Options::new()? };
        let progress = |line: &str| eprintln!("[image] {line}");
        image::build_program(Program::Worker, &options, &progress).context("the worker").map(Some)
    }
}

/// Whether a pool has a worker VM with such an image.
fn boots(config: &Config, is: impl Fn(&VmImage) -> bool) -> bool {
    let workers = config.pools.iter().flat_map(|pool| &pool.workers);
    workers.into_iter().any(|worker| matches!(&worker.kind, WorkerKind::Vm { image, .. } if is(image)))
}
