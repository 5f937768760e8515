//! `[[pool.worker]]`.

use super::forms::{Memory, WorkerAddress};
use crate::config::bounds::INSTANCES;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A worker of a pool. Each kind has its own keys, and none of the others'. Error: `KEY with kind "KIND", expected none`.
///
/// An image that `weir up` boots, a Linux with weir-agent in it, a command, and something that is there already:
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
    /// A machine that `weir up` boots, a command that it runs, or something that is there already.
    #[schemars(with = "String", extend("enum" = ["vm", "process", "address"]))]
    pub(crate) kind: Spanned<String>,
    /// Of a `vm`: `"worker"`, the demo's; else the path of an ELF. Either this, or `kernel` and `initrd`.
    #[schemars(with = "Option<String>")]
    pub(crate) image: Option<Spanned<String>>,
    /// Of a `vm`: a Linux kernel (bzImage).
    #[schemars(with = "Option<String>")]
    pub(crate) kernel: Option<Spanned<String>>,
    /// Of a `vm`: the initial RAM file system of `kernel`.
    #[schemars(with = "Option<String>")]
    pub(crate) initrd: Option<Spanned<String>>,
    /// Of a `vm` with `kernel`: more words for the kernel's command line, at most 1024 bytes of printable ASCII.
    #[schemars(with = "Option<String>", regex(pattern = "^[ -~]{0,1024}$"), extend("default" = ""))]
    pub(crate) append: Option<Spanned<String>>,
    /// Of a `vm`, which needs it: from `16M` to `1024G`.
    #[schemars(with = "Option<Memory>")]
    pub(crate) memory: Option<Spanned<String>>,
    /// Of an `address`, which needs it: `tcp:HOST:PORT`, `unix:PATH`, or `vsock:CID:PORT` with a CID from 2.
    #[schemars(with = "Option<WorkerAddress>")]
    pub(crate) at: Option<Spanned<String>>,
    /// Of a `process`, which needs it: the program and its arguments. `{socket}` or `{port}` is where it is to listen, also told
    /// as `WEIR_SOCKET` or `PORT` in its environment; a command that names neither gets a port of 127.0.0.1 in `PORT`.
    #[schemars(with = "Option<Vec<String>>", length(min = 1))]
    pub(crate) command: Option<Spanned<Vec<String>>>,
    /// Of a `process`: where it runs.
    #[schemars(with = "Option<String>", extend("x-default" = "the directory of `weir.toml`"))]
    pub(crate) directory: Option<Spanned<String>>,
    /// Of a `process`: variables besides weir's own; `{socket}` and `{port}` stand for the same here. No output shows the values.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub(crate) environment: Option<Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    /// Of a `process`: its user, group and supplementary groups, with `HOME`, `USER` and `LOGNAME`; takes root.
    #[schemars(with = "Option<String>", extend("x-default" = "weir's own"))]
    pub(crate) user: Option<Spanned<String>>,
    /// How many of it there may be, but of an `address`; all of a pool's together are at most as many.
    #[schemars(with = "Option<i64>", transform = INSTANCES.show(), extend("default" = 1))]
    pub(crate) instances: Option<Spanned<i64>>,
}
