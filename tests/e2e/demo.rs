//! The appliance shared by most tests: the demo as `qemu/up` serves it.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use weir_tests::raw::Connection;
use weir_tests::{free_port, weir::Weir};

/// A test on the shared appliance.
pub(crate) type SharedTest = fn(&Demo) -> Result<()>;

#[derive(Default)]
pub(crate) struct Demo {
    at: OnceLock<SocketAddr>,
    weir: Mutex<Option<Weir>>,
}

impl Demo {
    /// The first start may have to build the images.
    pub(crate) const START_LIMIT: Duration = Duration::from_secs(900);
    pub(crate) const PATIENCE: Duration = weir_tests::PATIENCE;

    pub(crate) fn start(&self) -> Result<()> {
        // A network that drops nothing: passt drops data that does not fit its socket to a client, which costs a second or more.
        // `network` tests the default network.
        let mut weir = Weir::start([
            "--net",
            "user",
            "--http-port",
            &free_port()?.to_string(),
            "--https-port",
            &free_port()?.to_string(),
        ])?;
        let at = weir.ready(Self::START_LIMIT)?;
        let _ = self.at.set(at);
        *self.weir.lock().unwrap_or_else(PoisonError::into_inner) = Some(weir);
        Ok(())
    }

    pub(crate) fn stop(&self, show_log: bool) {
        let weir = self.weir.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(weir) = weir.filter(|_| show_log) {
            eprintln!("--- what `weir up` printed:\n{}", weir.log());
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.at.get().map(|at| format!("http://{at}{path}")).unwrap_or_default()
    }

    pub(crate) fn connect(&self) -> Result<Connection> {
        Connection::open(*self.at.get().context("not started")?, Self::PATIENCE)
    }
}
