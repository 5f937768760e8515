//! `[log]`: settings of the appliance's log lines and of the log collector.

use super::bounds::KEEP;
use super::error::{Fault, Faults};
use super::{raw, units};
use model::log::Field;
use model::settings::{self, LogFormat};
use std::path::{Path, PathBuf};
use toml::Spanned;

type Result<T> = std::result::Result<T, Fault>;

/// Host vsock port of the log collector.
pub const LOG_PORT: u32 = 9_999;
/// Default of `max_size`, in bytes.
const MAX_SIZE: u64 = 64 << 20;
/// Minimum of `max_size`, in bytes (HTTP.sys: 1 MB).
const LEAST_SIZE: u64 = 1 << 20;
/// Maximum length of `computer`.
const COMPUTER_MAX: usize = 63;

/// How logs are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Settings for the appliance.
    pub settings: settings::Log,
    /// Directory of the log files; created if it does not exist.
    pub directory: PathBuf,
    /// When a new file is started.
    pub rotate: Rotate,
    /// Maximum size of a file in bytes; a new one is started when it is reached.
    pub max_size: u64,
    /// How many files of each log are kept; 0: all.
    pub keep: u32,
}

/// How often a new log file is started, in UTC (HTTP.sys: rollover type).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotate {
    /// Every hour.
    Hour,
    /// Every day.
    #[default]
    Day,
    /// Every month.
    Month,
    /// Only when the file is full.
    Size,
}

pub(super) fn log(written: Option<&raw::Log>, dir: &Path, faults: &Faults) -> Option<Log> {
    let written = written?;
    let format = choose("format", &written.format, &[("w3c", LogFormat::W3c), ("json", LogFormat::Json)]);
    let rotations =
        [("hour", Rotate::Hour), ("day", Rotate::Day), ("month", Rotate::Month), ("size", Rotate::Size)];
    if written.directory.get_ref().is_empty() {
        faults.error(written.directory.span().start, "directory \"\", expected a path");
    }
    let settings = settings::Log {
        port: LOG_PORT,
        format: faults.value(format).unwrap_or_default(),
        fields: written
            .fields
            .as_ref()
            .map_or_else(|| Field::DEFAULT.to_vec(), |names| fields(names, faults)),
        errors: written.errors.unwrap_or(true),
        computer: faults.value(computer(&written.computer)),
    };
    Some(Log {
        settings,
        directory: dir.join(written.directory.get_ref()),
        rotate: faults.value(choose("rotate", &written.rotate, &rotations)).unwrap_or_default(),
        max_size: faults.value(max_size(&written.max_size)),
        keep: faults.value(KEEP.read("keep", written.keep.as_ref())).unwrap_or(0),
    })
}

fn choose<T: Copy>(key: &str, written: &Option<Spanned<String>>, all: &[(&str, T)]) -> Result<Option<T>> {
    let Some(written) = written else { return Ok(None) };
    let found = all.iter().find(|(name, _)| name == written.get_ref());
    let names = || all.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let wrong =
        || (written.span().start, format!("{key} {:?}, expected one of {}", written.get_ref(), names()));
    found.map(|(_, value)| Some(*value)).ok_or_else(wrong)
}

fn fields(names: &[Spanned<String>], faults: &Faults) -> Vec<Field> {
    let mut fields = Vec::new();
    for name in names {
        let wrong =
            |what: &str| faults.error(name.span().start, format!("field {:?} {what}", name.get_ref()));
        match Field::from_name(name.get_ref()) {
            None => {
                let known = Field::ALL.iter().map(|field| field.name()).collect::<Vec<_>>().join(" ");
                wrong(&format!("is unknown, expected one of {known}"));
            }
            Some(field) if fields.contains(&field) => wrong("is listed twice, expected it once"),
            Some(field) => fields.push(field),
        }
    }
    fields
}

fn computer(written: &Option<Spanned<String>>) -> Result<String> {
    let Some(written) = written else { return Ok(String::new()) };
    let name = written.get_ref();
    match name.len() <= COMPUTER_MAX && name.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(name.clone()),
        false => Err((
            written.span().start,
            format!("computer {name:?}, expected at most {COMPUTER_MAX} visible ASCII characters"),
        )),
    }
}

fn max_size(written: &Option<Spanned<String>>) -> Result<u64> {
    let Some(written) = written else { return Ok(MAX_SIZE) };
    let at = |what| (written.span().start, what);
    let size = units::size("max_size", written.get_ref()).map_err(at)?;
    match size >= LEAST_SIZE {
        true => Ok(size),
        false => Err(at(format!("max_size {:?}, expected at least 1 MiB", written.get_ref()))),
    }
}
