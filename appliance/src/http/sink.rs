//! A bounded output buffer.

use super::Field;

/// The output does not fit the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// A number as decimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    /// The digits of `n`.
    pub fn new(mut n: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len() as u8;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (n % 10) as u8;
            start -= 1;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        Self { digits, start }
    }

    /// As text.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(usize::from(self.start)..).unwrap_or_default()
    }
}

/// Appends to a byte slice, never beyond its end.
#[derive(Debug)]
pub struct Sink<'b> {
    buf: &'b mut [u8],
    len: usize,
}

impl<'b> Sink<'b> {
    /// An empty sink over a buffer.
    pub fn new(buf: &'b mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Appends all bytes or none.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.len.checked_add(bytes.len()).ok_or(Overflow)?;
        self.buf.get_mut(self.len..end).ok_or(Overflow)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Appends a decimal number.
    pub fn put_decimal(&mut self, n: u64) -> Result<(), Overflow> {
        self.put(Decimal::new(n).as_bytes())
    }

    /// Appends a field line.
    pub(crate) fn put_field(&mut self, field: &Field<'_>) -> Result<(), Overflow> {
        if let Some(line) = field.usual_line() {
            return self.put(line);
        }
        self.put(field.name)?;
        self.put(b": ")?;
        self.put(field.value)?;
        self.put(b"\r\n")
    }

    /// Number of bytes written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes written.
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

impl core::fmt::Write for Sink<'_> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        self.put(s.as_bytes()).map_err(|Overflow| core::fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        for n in [0, 1, 9, 10, 99, 65_535, u64::MAX] {
            let mut buf = [0; 20];
            let mut sink = Sink::new(&mut buf);
            sink.put_decimal(n).unwrap();
            assert_eq!(sink.written(), n.to_string().as_bytes());
        }
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let mut buf = [0; 3];
        let mut sink = Sink::new(&mut buf);
        sink.put(b"ab").unwrap();
        assert_eq!(sink.put(b"cd"), Err(Overflow));
        assert_eq!(sink.written(), b"ab");
        sink.put(b"c").unwrap();
        assert_eq!(sink.put(b"d"), Err(Overflow));
    }
}
