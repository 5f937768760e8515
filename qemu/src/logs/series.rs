//! The files of one log. A new file is started with each period (UTC) and when one is full; the oldest ones beyond `keep` are
//! removed. Names sort by age.
//!
//! If a file is renamed, removed or truncated, this is noticed before the next lines, and the log continues in a new file of the
//! old name. A partial line at the end of a file, left by a killed program or a full disk, is cut off when the file is opened: it
//! was never acknowledged, so it will be sent again.

use super::State;
use super::append::{Appended, append};
use image::config::{Log, Rotate};
use image::place;
use model::date::Civil;
use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read as _, Result, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How far from the end of a file the start of a partial line is searched, more than the longest line.
const LONGEST_PART: u64 = 256 << 10;

/// The files of one log, one of them open.
#[derive(Debug)]
pub(super) struct Series {
    directory: PathBuf,
    name: &'static str,
    suffix: &'static str,
    /// For the head of a file; `None` for JSON.
    fields: Option<String>,
    rotate: Rotate,
    max_size: u64,
    keep: usize,
    open: Option<Open>,
    /// Writing fails, and this was reported.
    failed: bool,
    /// Removing old files fails, and this was reported.
    kept_too_many: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    period: String,
    /// Length of all whole lines in bytes.
    len: u64,
    /// The head has not been written yet.
    fresh: bool,
}

impl Series {
    pub(super) fn new(name: &'static str, suffix: &'static str, fields: Option<String>, log: &Log) -> Self {
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
            kept_too_many: false,
        }
    }

    /// Writes whole lines and returns how many leading bytes are on disk. Reports a failure once, and its end once.
    pub(super) fn put(&mut self, lines: &[u8], unix: u64, state: &State) -> usize {
        let mut done = 0;
        while done < lines.len() {
            let (kept, error) = match self.put_some(&lines[done..], unix) {
                Ok(Appended { kept, error }) => (kept, error),
                Err(error) => (0, Some(error)),
            };
            done += kept;
            if let Some(error) = error {
                self.open = None;
                state.failed(self.name, &self.directory, &error);
                if !std::mem::replace(&mut self.failed, true) {
                    eprintln!(
                        "[log] {} in {}: cannot write: {error}; lines wait in the appliance, which counts those that find \
                         no room there",
                        self.name,
                        self.directory.display()
                    );
                }
                return done;
            }
        }
        if !lines.is_empty() && std::mem::take(&mut self.failed) {
            state.mended(self.name);
            eprintln!("[log] {} in {}: is written again", self.name, self.directory.display());
        }
        done
    }

    /// Writes as many lines as fit into one file.
    fn put_some(&mut self, lines: &[u8], unix: u64) -> Result<Appended> {
        let period = period(self.rotate, unix);
        let first = lines.iter().position(|&b| b == b'\n').map_or(lines.len(), |at| at + 1);
        let fits = |open: &Open| {
            open.period == period && open.len + first as u64 <= self.max_size && open.is_in_place()
        };
        let mut open = match self.open.take().filter(fits) {
            Some(open) => open,
            None => self.begin(period, first as u64)?,
        };
        let head = self.fields.as_ref().filter(|_| open.fresh).map_or_else(String::new, |f| head(f, unix));
        let room = usize::try_from(self.max_size - open.len.min(self.max_size)).unwrap_or(usize::MAX);
        let room = room.saturating_sub(head.len()).min(lines.len());
        let whole = lines[..room].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1).max(first);
        let bytes = [head.as_bytes(), &lines[..whole]].concat();
        let Appended { kept, error } = append(&mut open.file, open.len, &bytes, head.len());
        open.len += kept as u64;
        open.fresh &= kept == 0;
        // A removed file is lost; a renamed one still exists.
        if error.is_none() && open.file.metadata()?.nlink() == 0 {
            return Err(Error::new(ErrorKind::NotFound, "the file was removed while it was written"));
        }
        self.open = Some(open);
        Ok(Appended { kept: kept.saturating_sub(head.len()), error })
    }

    /// Opens the last file of the period if a line of this length fits, otherwise the next one.
    fn begin(&mut self, period: String, line: u64) -> Result<Open> {
        std::fs::create_dir_all(&self.directory)?;
        let number = self.files()?.into_iter().filter_map(|path| self.parts(&path));
        let number = number.filter(|(p, _)| *p == period).map(|(_, number)| number).max().unwrap_or(0);
        let mut path = self.path(&period, number);
        let mut opened = open_whole(&path)?;
        if opened.as_ref().is_none_or(|(_, len)| *len > 0 && len + line > self.max_size) {
            path = self.path(&period, number + 1);
            opened = open_whole(&path)?;
        }
        let (file, len) = opened.ok_or_else(|| {
            Error::new(ErrorKind::InvalidData, format!("{}: ends in the middle of a line", path.display()))
        })?;
        if let Err(error) = self.remove_old() {
            if !std::mem::replace(&mut self.kept_too_many, true) {
                eprintln!(
                    "[log] {} in {}: cannot remove old files: {error}",
                    self.name,
                    self.directory.display()
                );
            }
        } else {
            self.kept_too_many = false;
        }
        Ok(Open { file, path, period, len, fresh: true })
    }

    fn path(&self, period: &str, number: u32) -> PathBuf {
        self.directory.join(format!("{}-{period}-{number:03}.{}", self.name, self.suffix))
    }

    /// Period and number in the name of one of our files.
    fn parts(&self, path: &Path) -> Option<(String, u32)> {
        let name = path.file_name()?.to_str()?;
        let inner =
            name.strip_prefix(self.name)?.strip_prefix('-')?.strip_suffix(self.suffix)?.strip_suffix('.')?;
        let (period, number) = inner.rsplit_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (digits(number) && (digits(period) || period == "all")).then_some(())?;
        Some((period.to_owned(), number.parse().ok()?))
    }

    /// All regular files of this log, oldest first.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            if !entry.file_type()?.is_file() {
                continue;
            }
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
            place::remove_file(path)?;
        }
        Ok(())
    }
}

impl Open {
    /// Whether the file still has its name and length.
    fn is_in_place(&self) -> bool {
        let id = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        match (self.path.symlink_metadata(), self.file.metadata()) {
            (Ok(named), Ok(ours)) => id(&named) == id(&ours) && named.len() == self.len,
            _ => false,
        }
    }
}

/// Opens or creates a file and cuts off a partial line. `None` if that is impossible.
fn open_whole(path: &Path) -> Result<Option<(File, u64)>> {
    let mut file = place::open_to_append(path)?;
    let len = file.metadata()?.len();
    let from = len.saturating_sub(LONGEST_PART);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    (&mut file).take(LONGEST_PART).read_to_end(&mut end)?;
    let whole = match end.iter().rposition(|&b| b == b'\n') {
        Some(at) => from + at as u64 + 1,
        None if from == 0 => 0,
        // Longer than any line of ours.
        None => return Ok(None),
    };
    if whole < len && file.set_len(whole).is_err() {
        return Ok(None);
    }
    Ok(Some((file, whole)))
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

/// The head of every W3C file, repeated when it is reopened.
fn head(fields: &str, unix: u64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from_unix(unix);
    format!(
        "#Software: Weir {}\n#Version: 1.0\n#Date: {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}\n\
         #Fields: {fields}\n",
        env!("CARGO_PKG_VERSION"),
    )
}
