//! Raw HTTP, for requests that no proper client sends.

use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    /// Content.
    pub content: Vec<u8>,
}

impl Response {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A connection and its unread received bytes.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects; no later read or write waits longer than `patience`.
    pub fn open(at: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&at, patience).context("connecting")?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).context("sending")
    }

    /// The next response, which must state its length; `None` if the connection ends or is reset first.
    pub fn response(&mut self) -> Result<Option<Response>> {
        self.reply(false)
    }

    /// Like [`Connection::response`]; `to_head`: for a HEAD request, without content.
    pub fn reply(&mut self, to_head: bool) -> Result<Option<Response>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.receive()? {
                return Ok(None);
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).context("head")?;
        let status =
            head.split(' ').nth(1).and_then(|s| s.parse().ok()).with_context(|| format!("{head:?}"))?;
        let mut response = Response { status, head, content: Vec::new() };
        if to_head || matches!(status, 100..200 | 204 | 304) {
            return Ok(Some(response));
        }
        let len =
            response.field("content-length").unwrap_or("0").parse::<usize>().context("Content-Length")?;
        while self.buffer.len() < len {
            if !self.receive()? {
                bail!("cut off after {} of {len} bytes", self.buffer.len());
            }
        }
        response.content = self.buffer.drain(..len).collect();
        Ok(Some(response))
    }

    /// Whether the peer has ended the connection and sent nothing more.
    pub fn is_over(&mut self) -> Result<bool> {
        Ok(self.buffer.is_empty() && !self.receive()?)
    }

    /// Waits for any bytes.
    pub fn some(&mut self) -> Result<()> {
        if !self.receive()? {
            bail!("the connection ended");
        }
        Ok(())
    }

    /// Whether nothing has arrived yet, neither bytes nor the end.
    pub fn is_waiting(&mut self) -> Result<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        Ok(self.buffer.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    /// The next line without its end, `None` at the end of the connection.
    pub fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            if !self.receive()? {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self) -> Result<bool> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Ok(false)
            }
            Err(error) => Err(error).context("receiving"),
        }
    }
}
