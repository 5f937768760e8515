//! Log files: `access-PERIOD-NNN.log` and `httperr-PERIOD-NNN.log`, or `.jsonl`.

use super::series::Series;
use super::{Kind, State};
use image::config::Log;
use model::log::Field;
use model::settings::LogFormat;
use std::io::Result;
use std::sync::Arc;

/// The fields of the error log, as HTTP.sys names them.
const ERROR_FIELDS: &str = "date time c-ip c-port s-ip s-port cs-version cs-method cs-uri sc-status s-siteid s-reason \
                            s-queuename";
/// Replaces the first byte of a line that is already on disk while an earlier line is not.
const WRITTEN: u8 = 0;

/// The files of both logs.
#[derive(Debug)]
pub(super) struct Files {
    access: Series,
    errors: Series,
    json: bool,
    state: Arc<State>,
}

/// Destination of a line.
enum Target<'l> {
    Access(&'l [u8]),
    Errors(&'l [u8]),
    /// Number of lines of either log that are missing here.
    Dropped(u64),
    Nowhere,
}

impl Files {
    pub(super) fn new(log: &Log, state: Arc<State>) -> Result<Self> {
        std::fs::create_dir_all(&log.directory)?;
        let names: Vec<_> = log.settings.fields.iter().map(|field| Field::name(*field)).collect();
        let json = log.settings.format == LogFormat::Json;
        let (suffix, fields) = if json { ("jsonl", None) } else { ("log", Some(names.join(" "))) };
        Ok(Self {
            access: Series::new("access", suffix, fields, log),
            errors: Series::new("httperr", "log", Some(ERROR_FIELDS.to_owned()), log),
            json,
            state,
        })
    }

    /// Writes whole lines, each with its kind byte and line end. Returns how many leading bytes are on disk. Later lines that are
    /// on disk as well are marked, so that the next call does not write them again. `unix` is the current time in seconds since
    /// 1970-01-01 UTC.
    pub(super) fn write(&mut self, lines: &mut [u8], unix: u64) -> usize {
        let (mut access, mut errors) = (Vec::new(), Vec::new());
        for line in lines.split_inclusive(|&b| b == b'\n') {
            match target(line) {
                Target::Access(text) => access.extend(text),
                Target::Errors(text) => errors.extend(text),
                Target::Dropped(count) => access.extend(self.notice(count).bytes()),
                Target::Nowhere => {}
            }
        }
        let mut access_left = self.access.put(&access, unix, &self.state);
        let mut errors_left = self.errors.put(&errors, unix, &self.state);
        // Walk the lines again, against what each log has on disk.
        let (mut there, mut gap) = (0, false);
        for line in lines.split_inclusive_mut(|&b| b == b'\n') {
            let mut dropped = None;
            let (left, len) = match target(line) {
                Target::Access(text) => (&mut access_left, text.len()),
                Target::Dropped(count) => {
                    dropped = Some(count);
                    (&mut access_left, self.notice(count).len())
                }
                Target::Errors(text) => (&mut errors_left, text.len()),
                Target::Nowhere => {
                    if let Some(kind) = line.first().filter(|&&kind| kind != WRITTEN) {
                        eprintln!(
                            "[log] a line that begins with byte {kind:#04x}, expected one of the appliance's"
                        );
                    }
                    (&mut 0, 0)
                }
            };
            if len > *left {
                // Logs keep leading lines only, so no later line of this log is on disk.
                *left = 0;
                gap = true;
                continue;
            }
            *left -= len;
            if let Some(count) = dropped {
                eprintln!("[log] the appliance dropped {count} lines that found no room");
            }
            match (gap, line.first_mut()) {
                (false, _) => there += line.len(),
                (true, Some(kind)) => *kind = WRITTEN,
                (true, None) => {}
            }
        }
        there
    }

    fn notice(&self, count: u64) -> String {
        match self.json {
            false => format!("#Remark: {count} lines dropped\n"),
            true => format!("{{\"dropped\":{count}}}\n"),
        }
    }
}

/// Parses a line.
fn target(line: &[u8]) -> Target<'_> {
    match line.split_first() {
        Some((&kind, text)) if kind == Kind::Access as u8 => Target::Access(text),
        Some((&kind, text)) if kind == Kind::Error as u8 => Target::Errors(text),
        Some((&kind, text)) if kind == Kind::Dropped as u8 => {
            Target::Dropped(String::from_utf8_lossy(text).trim().parse().unwrap_or(0))
        }
        _ => Target::Nowhere,
    }
}
