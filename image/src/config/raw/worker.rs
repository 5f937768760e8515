//! `[[pool.worker]]`.

use super::forms::{Memory, WorkerAddress};
use crate::config::bounds::INSTANCES;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A worker of a pool. Each kind has its own keys. Error: `KEY with kind "KIND", expected none`.
///
/// Examples, in order: a Hermit image booted by `weir up`, a Linux VM with weir-agent, a command, and a server that is already
/// running:
///
/// ```toml
/// [[pool.worker]]
/// kind = "vm"
/// image = "worker"
/// memory = "32M"
///
/// [[pool.worker]]
/// kind = "vm"
/// kernel = "vmlinuz"
/// initrd = "initrd"
/// memory = "256M"
///
/// [[pool.worker]]
/// kind = "process"
/// command = ["gunicorn", "--bind", "unix:{socket}", "shop:app"]
/// directory = "app"
/// environment = { DEBUG = "0" }
/// user = "www-data"
/// instances = 4
///
/// [[pool.worker]]
/// kind = "address"
/// at = "tcp:127.0.0.1:9000"
/// ```
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    { "if": { "properties": { "kind": { "const": "vm" } } }, "then": { "required": ["memory"] } },
    { "if": { "properties": { "kind": { "const": "process" } } }, "then": { "required": ["command"] } },
    { "if": { "properties": { "kind": { "const": "address" } } }, "then": { "required": ["at"] } }
]))]
pub(crate) struct Worker {
    /// `vm`: a VM booted by `weir up`; `process`: a command run by `weir up`; `address`: a server that is already running.
    #[schemars(with = "String", extend("enum" = ["vm", "process", "address"]))]
    pub(crate) kind: Spanned<String>,
    /// `vm`: `"worker"` for the demo's image, or the path of an ELF image. Exclusive with `kernel` and `initrd`.
    #[schemars(with = "Option<String>")]
    pub(crate) image: Option<Spanned<String>>,
    /// `vm`: a Linux kernel (bzImage).
    #[schemars(with = "Option<String>")]
    pub(crate) kernel: Option<Spanned<String>>,
    /// `vm`: the initial RAM file system for `kernel`.
    #[schemars(with = "Option<String>")]
    pub(crate) initrd: Option<Spanned<String>>,
    /// `vm` with `kernel`: text appended to the kernel command line, at most 1024 bytes of printable ASCII.
    #[schemars(with = "Option<String>", regex(pattern = "^[ -~]{0,1024}$"), extend("default" = ""))]
    pub(crate) append: Option<Spanned<String>>,
    /// `vm` (required): memory of the VM, from `16M` to `1024G`.
    #[schemars(with = "Option<Memory>")]
    pub(crate) memory: Option<Spanned<String>>,
    /// `address` (required): `tcp:HOST:PORT`, `unix:PATH`, or `vsock:CID:PORT` with a CID of at least 2.
    #[schemars(with = "Option<WorkerAddress>")]
    pub(crate) at: Option<Spanned<String>>,
    /// `process` (required): program and arguments. The process must listen at `{socket}` or `{port}`, which are also in its
    /// environment as `WEIR_SOCKET` and `PORT`. A command with neither must listen at port `PORT` of 127.0.0.1.
    #[schemars(with = "Option<Vec<String>>", length(min = 1))]
    pub(crate) command: Option<Spanned<Vec<String>>>,
    /// `process`: working directory.
    #[schemars(with = "Option<String>", extend("x-default" = "the directory of `weir.toml`"))]
    pub(crate) directory: Option<Spanned<String>>,
    /// `process`: additional environment variables; `{socket}` and `{port}` are replaced. No output shows the values.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) environment: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    /// `process`: user to run as, with its groups, `HOME`, `USER` and `LOGNAME`; requires root.
    #[schemars(with = "Option<String>", extend("x-default" = "the user running `weir`"))]
    pub(crate) user: Option<Spanned<String>>,
    /// `vm` and `process`: number of instances. A pool has at most that many workers in all.
    #[schemars(with = "Option<i64>", transform = INSTANCES.show(), extend("default" = 1))]
    pub(crate) instances: Option<Spanned<i64>>,
}
