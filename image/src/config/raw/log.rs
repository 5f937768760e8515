//! `[log]`.

use super::forms::Size;
use crate::config::bounds::KEEP;
use model::log::Field;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use toml::Spanned;

/// Access log and error log, written by `weir up`.
///
/// ```toml
/// [log]
/// directory = "logs"
/// format = "w3c"
/// fields = ["date", "time", "c-ip", "cs-method", "cs-uri-stem", "sc-status", "time-taken"]
/// computer = "edge-1"
/// rotate = "day"
/// max_size = "64 MiB"
/// keep = 30
/// ```
///
/// `access-PERIOD-NNN.log` (or `.jsonl`) has a line for every request. `httperr-PERIOD-NNN.log` has a line for every rejected
/// request and every aborted connection, with HTTP.sys's fields and reason phrases. Fields are those of the W3C extended format
/// as HTTP.sys writes them, plus `s-reason`, `s-queuename` and, for a verified client certificate, `cs-cert-subject`,
/// `cs-cert-serial` and `cs-cert-fingerprint`. Empty values are written as `-`, spaces and unprintable characters as `+`.
/// `time-taken` is the time in milliseconds from the first byte of the request until the last byte of the response was handed to
/// TCP.
///
/// Lines are acknowledged once they are on disk (`fdatasync`). The appliance buffers a bounded amount of unacknowledged lines,
/// sends them again after a restart of the log collector, and records how many it had to drop as `#Remark: N lines dropped`
/// (`{"dropped":N}`).
///
/// If writing fails (disk full, quota, read-only, no permission, directory gone, file size limit), `weir` reports it once on
/// standard error, in `weir ctl status`, and as `weir_logs_failing` and `weir_log_write_errors_total`. It truncates a partly
/// written line, retries every second and continues where it stopped; the other log is not affected. A log file that is renamed,
/// removed or truncated by others is started anew.
///
/// Connections rejected for lack of memory (`Connections_Refused`) are logged too, at most ten a second, and so are idle
/// connections closed to free memory (`Timer_ConnectionIdle`).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// Directory of the log files; created if it does not exist.
    #[schemars(with = "String", length(min = 1))]
    pub(crate) directory: Spanned<String>,
    /// Format of the access log: W3C extended, or one JSON object per line.
    #[schemars(with = "Option<String>", extend("enum" = ["w3c", "json"], "default" = "w3c"))]
    pub(crate) format: Option<Spanned<String>>,
    /// Fields of the access log, without duplicates; `[]` disables the access log.
    #[schemars(with = "Option<Vec<String>>", transform = fields, extend("x-default" = "IIS 10's"))]
    pub(crate) fields: Option<Vec<Spanned<String>>>,
    /// Write the error log (HTTPERR).
    #[schemars(extend("default" = true))]
    pub(crate) errors: Option<bool>,
    /// Value of `s-computername`: at most 63 visible ASCII characters.
    #[schemars(with = "Option<String>", regex(pattern = "^[!-~]{0,63}$"), extend("default" = ""))]
    pub(crate) computer: Option<Spanned<String>>,
    /// How often a new file is started, in UTC; `"size"`: only when the file is full.
    #[schemars(with = "Option<String>", extend("enum" = ["hour", "day", "month", "size"], "default" = "day"))]
    pub(crate) rotate: Option<Spanned<String>>,
    /// Maximum size of a file, at least 1 MiB; a new file is started when it is reached.
    #[schemars(with = "Option<Size>", extend("default" = "64 MiB"))]
    pub(crate) max_size: Option<Spanned<String>>,
    /// How many files of each log are kept; 0: all.
    #[schemars(with = "Option<i64>", transform = KEEP.show(), extend("default" = 0))]
    pub(crate) keep: Option<Spanned<i64>>,
}

/// Adds the valid field names to the schema.
fn fields(schema: &mut Schema) {
    let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
    schema.insert("items".into(), serde_json::json!({ "type": "string", "enum": names }));
    schema.insert("uniqueItems".into(), true.into());
}
