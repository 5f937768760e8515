//! Appends lines to a file so that lines reported as written are on disk, and no partial line remains.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write as _};

/// File operations needed to append.
pub(super) trait LogFile {
    /// Appends some of the bytes and returns their number.
    fn write(&mut self, bytes: &[u8]) -> Result<usize>;
    /// Returns when everything written is on disk.
    fn sync(&mut self) -> Result<()>;
    /// Truncates the file.
    fn cut(&mut self, len: u64) -> Result<()>;
}

impl LogFile for File {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        std::io::Write::write(&mut &*self, bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.flush()?;
        match self.sync_data() {
            // Some file systems do not support it.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            result => result,
        }
    }

    fn cut(&mut self, len: u64) -> Result<()> {
        self.set_len(len)
    }
}

/// Result of appending.
#[derive(Debug)]
pub(super) struct Appended {
    /// Number of leading bytes, in whole lines and including the head, that are on disk.
    pub(super) kept: usize,
    /// Why the rest is not.
    pub(super) error: Option<Error>,
}

/// Appends whole lines to a file of `len` bytes. If not all can be written, the file is truncated after the last whole line on
/// disk. The first `head` bytes are kept only if a line follows, so that repeated attempts do not fill the disk with heads.
pub(super) fn append(file: &mut impl LogFile, len: u64, lines: &[u8], head: usize) -> Appended {
    let (mut written, mut error) = (0, None);
    while written < lines.len() {
        match file.write(&lines[written..]) {
            Ok(0) => error = Some(ErrorKind::WriteZero.into()),
            Ok(n) => written += n.min(lines.len() - written),
            Err(interrupted) if interrupted.kind() == ErrorKind::Interrupted => {}
            Err(failed) => error = Some(failed),
        }
        if error.is_some() {
            break;
        }
    }
    let mut kept = lines[..written].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    if kept <= head {
        kept = 0;
    }
    if kept > 0
        && let Err(failed) = file.sync()
    {
        // It is unknown how much was written to disk.
        (kept, error) = (0, Some(failed));
    }
    // If truncation fails, the partial line is handled when the file is next opened.
    if kept < written
        && let Err(failed) = file.cut(len + kept as u64)
    {
        error.get_or_insert(failed);
    }
    Appended { kept, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A disk with limited room and short writes, whose syncs and truncations may fail.
    #[derive(Clone, Debug, Default)]
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
        piece: usize,
        sync_fails: bool,
        cut_fails: bool,
    }

    fn fail(raw: i32) -> Error {
        Error::from_raw_os_error(raw)
    }

    impl LogFile for Disk {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            let n = bytes.len().min(self.piece).min(self.room - self.bytes.len());
            self.bytes.extend(&bytes[..n]);
            if n == 0 { Err(fail(28)) } else { Ok(n) }
        }

        fn sync(&mut self) -> Result<()> {
            if self.sync_fails { Err(fail(5)) } else { Ok(()) }
        }

        fn cut(&mut self, len: u64) -> Result<()> {
            if self.cut_fails {
                return Err(fail(30));
            }
            self.bytes.truncate(len as usize);
            Ok(())
        }
    }

    proptest! {
        /// Whatever fails: lines reported as kept are in the file, whole, with nothing after them unless truncation fails too.
        #[test]
        fn what_is_kept_is_there(
            lines in prop::collection::vec(0_usize..30, 2..10), with_head: bool, room in 0_usize..300, piece in 1_usize..50,
            sync_fails: bool, cut_fails: bool,
        ) {
            let text: Vec<Vec<u8>> =
                lines.iter().enumerate().map(|(i, n)| [vec![b'a' + i as u8; *n], b"\n".to_vec()].concat()).collect();
            let (head, all) = (if with_head { text[0].len() } else { 0 }, text.concat());
            let before = b"before\n".to_vec();
            let mut disk = Disk { bytes: before.clone(), room: room + before.len(), piece, sync_fails, cut_fails };
            let Appended { kept, error } = append(&mut disk, before.len() as u64, &all, head);
            prop_assert!(kept == 0 || (all[..kept].ends_with(b"\n") && kept > head && !sync_fails));
            prop_assert_eq!(error.is_none(), kept == all.len());
            let expected = [before, all[..kept].to_vec()].concat();
            prop_assert!(disk.bytes.starts_with(&expected));
            prop_assert!(cut_fails || disk.bytes == expected);
            // Nothing that fits is dropped.
            let fits: usize = text.iter().map(Vec::len).scan(0, |end, n| { *end += n; Some(*end) }).filter(|end| *end <= room).max().unwrap_or(0);
            let expected = if fits > head { fits } else { 0 };
            prop_assert!(sync_fails || kept == expected);
        }
    }
}
