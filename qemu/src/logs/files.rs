//! Log files: `access-PERIOD-NNN.log` and `httperr-PERIOD-NNN.log`, or `.jsonl`.
//!
//! A new file is begun with a new period (UTC) and when one is full; the oldest are removed when there are more than are to
//! be kept. Names sort by age.

use appliance::date::Civil;
use appliance::log::Field;
use appliance::settings::LogFormat;
use image::config::{Log, Rotate};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Result, Write};
use std::path::{Path, PathBuf};

/// The fields of the error log, as HTTP.sys names them.
const ERROR_FIELDS: &str = "date time c-ip c-port s-ip s-port cs-version cs-method cs-uri sc-status s-siteid s-reason \
                            s-queuename";

/// The files of both logs.
#[derive(Debug)]
pub(super) struct Files {
    access: Series,
    errors: Series,
}

impl Files {
    pub(super) fn new(log: &Log) -> Result<Self> {
        std::fs::create_dir_all(&log.directory)?;
        let names: Vec<_> = log.settings.fields.iter().map(|field| Field::name(*field)).collect();
        let (suffix, fields) = match log.settings.format {
            LogFormat::W3c => ("log", Some(names.join(" "))),
            LogFormat::Json => ("jsonl", None),
        };
        Ok(Self {
            access: Series::new("access", suffix, fields, log),
            errors: Series::new("httperr", "log", Some(ERROR_FIELDS.to_owned()), log),
        })
    }

    /// A line of the access log with its end. `unix`: now, in seconds since 1970-01-01 UTC.
    pub(super) fn access(&mut self, line: &[u8], unix: u64) {
        self.access.put(line, unix);
    }

    /// A line of the error log.
    pub(super) fn error(&mut self, line: &[u8], unix: u64) {
        self.errors.put(line, unix);
    }

    /// So many lines of either are missing here.
    pub(super) fn dropped(&mut self, count: u64, unix: u64) {
        let line = match self.access.fields {
            Some(_) => format!("#Remark: {count} lines dropped\n"),
            None => format!("{{\"dropped\":{count}}}\n"),
        };
        self.access.put(line.as_bytes(), unix);
    }

    /// Hands everything to the system.
    pub(super) fn flush(&mut self) {
        self.access.flush();
        self.errors.flush();
    }
}

/// The files of one log, one of them open.
#[derive(Debug)]
struct Series {
    directory: PathBuf,
    name: &'static str,
    suffix: &'static str,
    /// For the head of a file; JSON lines have none.
    fields: Option<String>,
    rotate: Rotate,
    max_size: u64,
    keep: usize,
    open: Option<Open>,
    /// The last thing that was tried failed, and was said.
    failed: bool,
}

#[derive(Debug)]
struct Open {
    file: BufWriter<File>,
    period: String,
    len: u64,
}

impl Series {
    fn new(name: &'static str, suffix: &'static str, fields: Option<String>, log: &Log) -> Self {
        Self {
            directory: log.directory.clone(),
            name,
            suffix,
            fields,
            rotate: log.rotate,
            max_size: log.max_size,
            keep: log.keep as usize,
            open: None,
            failed: false,
        }
    }

    fn put(&mut self, line: &[u8], unix: u64) {
        let result = self.try_put(line, unix);
        self.judge(result);
    }

    fn flush(&mut self) {
        let result = self.open.as_mut().map_or(Ok(()), |open| open.file.flush());
        self.judge(result);
    }

    /// Says once what goes wrong; the next line tries again.
    fn judge(&mut self, result: Result<()>) {
        match result {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    eprintln!("[log] {} in {}: {error}", self.name, self.directory.display());
                }
                self.open = None;
            }
        }
    }

    fn try_put(&mut self, line: &[u8], unix: u64) -> Result<()> {
        let period = period(self.rotate, unix);
        let len = line.len() as u64;
        let open = match self.open.take() {
            Some(open) if open.period == period && open.len + len <= self.max_size => open,
            full => {
                if let Some(mut old) = full {
                    old.file.flush()?;
                }
                self.begin(period, len, unix)?
            }
        };
        let open = self.open.insert(open);
        open.len += len;
        open.file.write_all(line)
    }

    /// Opens the last file of the period if a line of this length fits, else the next one.
    fn begin(&mut self, period: String, line: u64, unix: u64) -> Result<Open> {
        let mut number = 0;
        for path in self.files()? {
            if let Some((p, n)) = self.parts(&path).filter(|(p, _)| *p == period) {
                debug_assert_eq!(p, period);
                number = n;
            }
        }
        let mut path = self.path(&period, number);
        let mut len = path.metadata().map_or(0, |metadata| metadata.len());
        if len > 0 && len + line > self.max_size {
            path = self.path(&period, number + 1);
            len = 0;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut open = Open { file: BufWriter::new(file), period, len };
        if let Some(fields) = &self.fields {
            let head = head(fields, unix);
            open.file.write_all(head.as_bytes())?;
            open.len += head.len() as u64;
        }
        self.remove_old()?;
        Ok(open)
    }

    fn path(&self, period: &str, number: u32) -> PathBuf {
        self.directory.join(format!("{}-{period}-{number:03}.{}", self.name, self.suffix))
    }

    /// Period and number in a file's name, if it is one of ours.
    fn parts(&self, path: &Path) -> Option<(String, u32)> {
        let name = path.file_name()?.to_str()?;
        let inner =
            name.strip_prefix(self.name)?.strip_prefix('-')?.strip_suffix(self.suffix)?.strip_suffix('.')?;
        let (period, number) = inner.rsplit_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (digits(number) && (digits(period) || period == "all")).then_some(())?;
        Some((period.to_owned(), number.parse().ok()?))
    }

    /// All files of this log, the oldest first.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            files.extend(self.parts(&path).map(|parts| (parts, path)));
        }
        files.sort();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    fn remove_old(&self) -> Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        let files = self.files()?;
        for path in &files[..files.len().saturating_sub(self.keep)] {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn period(rotate: Rotate, unix: u64) -> String {
    let Civil { year, month, day, hour, .. } = Civil::from_unix(unix);
    match rotate {
        Rotate::Hour => format!("{year:04}{month:02}{day:02}{hour:02}"),
        Rotate::Day => format!("{year:04}{month:02}{day:02}"),
        Rotate::Month => format!("{year:04}{month:02}"),
        Rotate::Size => "all".to_owned(),
    }
}

/// What every W3C file begins with, and what stands in it again when it was opened again.
fn head(fields: &str, unix: u64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from_unix(unix);
    format!(
        "#Software: Weir {}\n#Version: 1.0\n#Date: {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}\n\
         #Fields: {fields}\n",
        env!("CARGO_PKG_VERSION"),
    )
}
