//! A client that reads any response by its framing, and distinguishes complete from truncated ones.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use weir_tests::PATIENCE;

/// Status line and fields of a response.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    lines: Vec<String>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }
}

/// A complete response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) content: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn open(at: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE).context("connecting")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref()).context("sending")
    }

    /// Sends on another thread until everything is sent, or the peer stops reading.
    pub(crate) fn send_beside(&self, bytes: Vec<u8>) -> Result<std::thread::JoinHandle<()>> {
        let mut stream = self.stream.get_ref().try_clone()?;
        Ok(std::thread::spawn(move || drop(stream.write_all(&bytes))))
    }

    /// Closes both directions.
    pub(crate) fn shut(&self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }

    /// The next final head.
    pub(crate) fn head(&mut self) -> Result<Head> {
        loop {
            let head = self.any_head()?;
            if !(100..200).contains(&head.status) || head.status == 101 {
                return Ok(head);
            }
        }
    }

    fn any_head(&mut self) -> Result<Head> {
        let first = self.line().context("no answer")?;
        let status =
            first.split(' ').nth(1).and_then(|s| s.parse().ok()).with_context(|| format!("{first:?}"))?;
        let mut lines = Vec::new();
        loop {
            match self.line()? {
                line if line.is_empty() => return Ok(Head { status, lines }),
                line => lines.push(line),
            }
        }
    }

    /// The next complete response. The error says where it is truncated.
    pub(crate) fn answer(&mut self) -> Result<Answer> {
        let head = self.head()?;
        let content = self.content(&head)?;
        Ok(Answer { head, content })
    }

    /// The content for this head, which must not be a response to HEAD.
    pub(crate) fn content(&mut self, head: &Head) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        if matches!(head.status, 100..200 | 204 | 304) {
            return Ok(content);
        }
        if head.is_chunked() {
            while let Some(piece) = self.chunk()? {
                content.extend(piece);
            }
        } else if let Some(length) = head.field("content-length") {
            content = self.exactly(length.parse().context("Content-Length")?)?;
        } else {
            self.stream.read_to_end(&mut content).context("reading to the end")?;
        }
        Ok(content)
    }

    /// The next chunk; `None` for the last one, with its trailers.
    pub(crate) fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).with_context(|| format!("chunk size {line:?}"))?;
        if size == 0 {
            while !self.line()?.is_empty() {}
            return Ok(None);
        }
        let piece = self.exactly(size)?;
        ensure!(self.line()?.is_empty(), "a chunk that does not end");
        Ok(Some(piece))
    }

    /// This many bytes.
    pub(crate) fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).with_context(|| format!("cut off within {length} bytes"))?;
        Ok(bytes)
    }

    /// Fails unless the connection has ended without further data.
    pub(crate) fn is_over(&mut self) -> Result<()> {
        match self.stream.fill_buf() {
            Ok([]) => Ok(()),
            Ok(more) => bail!("more: {:?}", String::from_utf8_lossy(more)),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error).context("the connection goes on"),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        ensure!(line.ends_with(b"\r\n"), "cut off within a line");
        line.truncate(line.len() - 2);
        String::from_utf8(line).context("a line of text")
    }
}
