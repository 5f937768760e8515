//! Self-describing content: every line states its own offset.
//!
//! A line has [`LINE`] bytes: the offset of its first byte as 15 decimal digits with leading zeros, then a line feed. Any part
//! can be checked without the rest, and wrong, lost or duplicated parts show where they came from. The demo's static files use
//! the same pattern.

/// Bytes per line.
pub const LINE: u64 = 16;

/// Fills `out` with the pattern from `offset`.
pub fn fill(offset: u64, out: &mut [u8]) {
    let mut line = render(offset / LINE * LINE);
    let mut skip = (offset % LINE) as usize;
    let mut rest = out;
    while !rest.is_empty() {
        let n = rest.len().min(line.len() - skip);
        let (now, later) = rest.split_at_mut(n);
        now.copy_from_slice(&line[skip..skip + n]);
        rest = later;
        skip = 0;
        advance(&mut line);
    }
}

/// Offset of the first difference between `bytes` and the pattern from `offset`.
pub fn mismatch(offset: u64, bytes: &[u8]) -> Option<u64> {
    let mut expected = [0; 4096];
    let mut at = offset;
    for piece in bytes.chunks(expected.len()) {
        let expected = &mut expected[..piece.len()];
        fill(at, expected);
        if let Some(i) = expected.iter().zip(piece).position(|(a, b)| a != b) {
            return Some(at + i as u64);
        }
        at += piece.len() as u64;
    }
    None
}

fn render(mut number: u64) -> [u8; LINE as usize] {
    let mut line = *b"000000000000000\n";
    for digit in line[..15].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    line
}

/// Adds [`LINE`] to the number in place, much cheaper than formatting each line, which matters on an emulated CPU.
fn advance(line: &mut [u8; LINE as usize]) {
    let mut carry = LINE as u8;
    for digit in line[..15].iter_mut().rev() {
        let sum = *digit - b'0' + carry % 10;
        carry = carry / 10 + sum / 10;
        *digit = b'0' + sum % 10;
        if carry == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_state_their_offset() {
        let mut out = [0; 48];
        fill(96, &mut out);
        assert_eq!(&out, b"000000000000096\n000000000000112\n000000000000128\n");
    }

    #[test]
    fn any_piece_equals_the_whole() {
        let mut whole = vec![0; 5000];
        fill(999_990, &mut whole);
        for start in [0, 1, 15, 16, 17, 4000] {
            assert_eq!(mismatch(999_990 + start, &whole[start as usize..]), None);
        }
        whole[4321] ^= 1;
        assert_eq!(mismatch(999_990, &whole), Some(999_990 + 4321));
    }
}
