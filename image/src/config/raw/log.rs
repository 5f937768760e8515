//! `[log]`.

use super::forms::Size;
use crate::config::bounds::KEEP;
use model::log::Field;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use toml::Spanned;

/// The access log and the error log, which `weir up` writes.
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
/// `access-PERIOD-NNN.log` (`.jsonl`) has a line for every request, `httperr-PERIOD-NNN.log` a line for every refusal and every
/// connection that was ended, with HTTP.sys's fields and reason phrases. Fields are those of W3C extended as HTTP.sys writes
/// them, and our own `s-reason`, `s-queuename` and, of a client certificate that was verified, `cs-cert-subject`,
/// `cs-cert-serial` and `cs-cert-fingerprint`; what is empty is `-`, blanks and what cannot be printed are `+`. `time-taken` is
/// the milliseconds from the request's first byte to the moment its response's last byte was handed to TCP.
///
/// The appliance holds a bounded amount of lines while the host does not take them; how many it dropped stands in the log as
/// `#Remark: N lines dropped` (`{"dropped":N}`). The collector acknowledges what is on the disk (`fdatasync`), and what was not
/// when it ended is sent again, so that none is lost uncounted. When lines cannot be written (disk full, quota, read-only, no
/// permission, directory gone, a file too large for a limit) it says so once on standard error, in `weir ctl status` and as
/// `weir_logs_failing` and `weir_log_write_errors_total`, cuts what it wrote in part back to the last whole line, tries again
/// every second and goes on where it was; the other log is not held up. A file that is renamed, removed or emptied meanwhile is
/// begun again. Connections that found no room (`Connections_Refused`) have a line too, ten a second at most, and those that
/// were closed while idle to make some (`Timer_ConnectionIdle`).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// Where the files are; made if it is not there.
    #[schemars(with = "String", length(min = 1))]
    pub(crate) directory: Spanned<String>,
    /// W3C extended, or an object a line.
    #[schemars(with = "Option<String>", extend("enum" = ["w3c", "json"], "default" = "w3c"))]
    pub(crate) format: Option<Spanned<String>>,
    /// The access log's fields, each once; `[]` for none.
    #[schemars(with = "Option<Vec<String>>", transform = fields, extend("x-default" = "IIS 10's"))]
    pub(crate) fields: Option<Vec<Spanned<String>>>,
    /// Whether there is an error log, HTTPERR.
    #[schemars(extend("default" = true))]
    pub(crate) errors: Option<bool>,
    /// `s-computername`: at most 63 visible ASCII characters.
    #[schemars(with = "Option<String>", regex(pattern = "^[!-~]{0,63}$"), extend("default" = ""))]
    pub(crate) computer: Option<Spanned<String>>,
    /// How often a new file is begun, by UTC; `"size"`: by size alone.
    #[schemars(with = "Option<String>", extend("enum" = ["hour", "day", "month", "size"], "default" = "day"))]
    pub(crate) rotate: Option<Spanned<String>>,
    /// A new file is begun as well when one is full; at least 1 MiB.
    #[schemars(with = "Option<Size>", extend("default" = "64 MiB"))]
    pub(crate) max_size: Option<Spanned<String>>,
    /// Files kept of each log; 0: all.
    #[schemars(with = "Option<i64>", transform = KEEP.show(), extend("default" = 0))]
    pub(crate) keep: Option<Spanned<i64>>,
}

/// The names that there are.
fn fields(schema: &mut Schema) {
    let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
    schema.insert("items".into(), serde_json::json!({ "type": "string", "enum": names }));
    schema.insert("uniqueItems".into(), true.into());
}
