//! Lines onto the end of a file, so that what is said to be there is there, and never half a line.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write as _};

/// What of a file is needed to write to its end.
pub(super) trait LogFile {
    /// Appends some of the bytes and says how many.
    fn write(&mut self, bytes: &[u8]) -> Result<usize>;
    /// Returns when all that was written is on the disk.
    fn sync(&mut self) -> Result<()>;
    /// Cuts the file off.
    fn cut(&mut self, len: u64) -> Result<()>;
}

impl LogFile for File {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        std::io::Write::write(&mut &*self, bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.flush()?;
        match self.sync_data() {
            // Some file systems have no such thing.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            result => result,
        }
    }

    fn cut(&mut self, len: u64) -> Result<()> {
        self.set_len(len)
    }
}

/// What became of the lines.
#[derive(Debug)]
pub(super) struct Appended {
    /// Bytes of the whole lines that are on the disk, from the front, the head included.
    pub(super) kept: usize,
    /// Why not all of them.
    pub(super) error: Option<Error>,
}

/// Appends whole lines to a file that has `len` bytes. Where not all can be written, the file is cut back to the last line
/// that is whole and on the disk. The first `head` bytes are kept only with something behind them: what is tried again
/// and again must not fill the last of the room with heads.
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
        // Nobody knows what of it is there.
        (kept, error) = (0, Some(failed));
    }
    // What cannot be cut off is seen to when the file is opened again.
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

    /// A disk with so much room, whose writes are short, and which may fail to write out or to cut.
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
        /// Whatever goes wrong: what is said to be kept is there, as whole lines, and nothing behind it unless cutting fails too.
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
            // Nothing that fits is given up.
            let fits: usize = text.iter().map(Vec::len).scan(0, |end, n| { *end += n; Some(*end) }).filter(|end| *end <= room).max().unwrap_or(0);
            let expected = if fits > head { fits } else { 0 };
            prop_assert!(sync_fails || kept == expected);
        }
    }
}
