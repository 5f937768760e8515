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
    /// The demo worker, if a pool uses it.
    pub worker: Option<Image>,
}

impl Images {
    /// Builds what `config` needs, saying so on standard error, into `out` or the target directory.
    pub fn build(config: &Config, kernel: Option<PathBuf>, out: Option<PathBuf>) -> Result<Self> {
        let mut options = image::Options::new()?;
        options.kernel = kernel;
        options.out_dir = out.unwrap_or(options.out_dir);
        let progress = |line: &str| eprintln!("[image] {line}");
        let appliance = image::build(config, &options, &progress).context("the appliance")?;
        let needs_worker = config
            .pools
            .iter()
            .flat_map(|pool| &pool.workers)
            .any(|worker| matches!(&worker.kind, WorkerKind::Vm { image: VmImage::Worker, .. }));
        let worker = needs_worker
            .then(|| image::build_program(Program::Worker, &options, &progress).context("the worker"))
            .transpose()?;
        Ok(Self { appliance, worker })
    }
}
