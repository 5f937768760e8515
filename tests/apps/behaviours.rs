//! The behaviours tested with every server: the columns of the table, each with its expected outcome.

use crate::http::{Answer, Client, Head};
use crate::servers::{By, Server, Stage};
use crate::table::{Cell, Row};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use weir_tests::curl::curl;
use weir_tests::pattern;

/// Bytes of a truncated response sent before it ends.
pub(crate) const HALF: usize = 500_000;
const UPLOAD: usize = 20_000_000;
const REFUSED: usize = 5_000_000;

type Check = fn(&Scene) -> Result<()>;

/// In order of execution; those that harm the server come last.
const COLUMNS: &[(&str, Check)] = &[
    ("GET", get),
    ("HEAD", head),
    ("204", no_content),
    ("304", not_modified),
    ("early", early),
    ("upload", upload),
    ("413", refused),
    ("chunked up", chunked_up),
    ("chunked down", chunked_down),
    ("trailers up", trailers_up),
    ("trailers down", trailers_down),
    ("upgrade", upgrade),
    ("SSE", events),
    ("close", close),
    ("idle", idle),
    ("HTTP/1.0", old_client),
    ("cut", cut),
    ("reset", reset),
    ("hang", hang),
    ("crash", crash),
];

/// A server and how it is reached.
struct Scene<'a> {
    server: &'a Server,
    at: SocketAddr,
    stage: &'a Stage,
}

/// Runs all behaviours with a server.
pub(crate) fn run(server: &Server, at: SocketAddr, stage: &Stage) -> Row {
    let scene = Scene { server, at, stage };
    let cell = |(column, check): &(&'static str, Check)| {
        let cell = match server.cannot.iter().find(|(name, _)| name == column) {
            Some((_, why)) => Cell::Cannot(why),
            None => match check(&scene) {
                Ok(()) => Cell::Good,
                Err(error) => Cell::Bad(format!("{error:#}")),
            },
        };
        (*column, cell)
    };
    Row { server: server.name, cells: COLUMNS.iter().map(cell).collect() }
}

/// Content of `/down`, as in `common.py`.
pub(crate) fn down() -> Vec<u8> {
    (0..30).flat_map(|n| vec![b'a' + n % 26; 10_000]).collect()
}

impl Scene<'_> {
    fn path(&self, what: &str) -> String {
        format!("/{}/{what}", self.server.name)
    }

    fn head(&self, method: &str, what: &str, fields: &str) -> String {
        format!("{method} {} HTTP/1.1\r\nHost: apps\r\n{fields}\r\n", self.path(what))
    }

    fn client(&self) -> Result<Client> {
        Client::open(self.at)
    }

    /// A GET on this connection.
    fn get(&self, client: &mut Client, what: &str) -> Result<Answer> {
        client.send(self.head("GET", what, ""))?;
        client.answer().with_context(|| what.to_owned())
    }

    /// Checks that the server still responds, and that the connection is open.
    fn goes_on(&self, client: &mut Client) -> Result<()> {
        let answer = self.get(client, "get").context("afterwards")?;
        self.is_hello(&answer).context("afterwards")
    }

    fn is_hello(&self, answer: &Answer) -> Result<()> {
        let expected = format!("hello from {}\n", self.server.name);
        is(answer, 200, expected.as_bytes())
    }

    /// Path and method for uploads.
    fn upload_path(&self, file: &str) -> (&'static str, String) {
        if self.server.stores { ("PUT", format!("put/{file}")) } else { ("POST", "sum".into()) }
    }

    /// Checks that the upload arrived completely, by the server's response or by fetching it.
    fn has_arrived(&self, answer: &Answer, what: &str, content: &[u8]) -> Result<()> {
        if !self.server.stores {
            return is(answer, 200, sha256(content)?.as_bytes());
        }
        ensure!(matches!(answer.head.status, 201 | 204), "{}", answer.head.status);
        is(&self.get(&mut self.client()?, what)?, 200, content)
    }
}

fn is(answer: &Answer, status: u16, content: &[u8]) -> Result<()> {
    let got = answer.head.status;
    ensure!(got == status, "{got} in place of {status}: {}", String::from_utf8_lossy(&answer.content));
    let length = answer.content.len();
    ensure!(answer.content == content, "{length} bytes in place of {}, or others", content.len());
    Ok(())
}

/// With coreutils, as an independent implementation.
fn sha256(content: &[u8]) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), content)?;
    let output = Command::new("sha256sum").arg(file.path()).output().context("sha256sum")?;
    let line = String::from_utf8(output.stdout)?;
    Ok(line.split(' ').next().context("no sum")?.to_owned())
}

fn get(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    scene.goes_on(&mut client)?;
    scene.goes_on(&mut client)
}

/// Applications send content regardless; what matters is where the response ends.
fn head(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    for _ in 0..3 {
        client.send(scene.head("HEAD", "get", ""))?;
        let head = client.head()?;
        ensure!(head.status == 200, "{}", head.status);
        let length = format!("hello from {}\n", scene.server.name).len().to_string();
        ensure!(head.field("content-length").is_none_or(|l| l == length), "{head:?}");
        scene.goes_on(&mut client)?;
    }
    Ok(())
}

fn no_content(scene: &Scene) -> Result<()> {
    let whats: &[&str] = if scene.server.adds_to_204 { &["204", "204-content"] } else { &["204"] };
    for what in whats {
        let mut client = scene.client()?;
        is(&scene.get(&mut client, what)?, 204, b"").context(*what)?;
        scene.goes_on(&mut client).context(*what)?;
    }
    Ok(())
}

fn not_modified(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    let first = scene.get(&mut client, "get")?;
    let tag = first.head.field("etag").context("no ETag")?.to_owned();
    client.send(scene.head("GET", "get", &format!("If-None-Match: {tag}\r\n")))?;
    is(&client.answer()?, 304, b"")?;
    scene.goes_on(&mut client)
}

/// The response comes before all content has been sent, and the client gets it.
fn early(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    client.send(scene.head("POST", "early", "Content-Length: 1000000\r\n"))?;
    let sent = if scene.server.reads_first { 1_000_000 } else { 10_000 };
    let sender = client.send_beside(vec![b'x'; sent])?;
    let answer = client.answer();
    client.shut();
    let _ = sender.join();
    is(&answer?, 200, b"early\n")?;
    scene.goes_on(&mut scene.client()?)
}

/// With curl, which waits for 100 Continue.
fn upload(scene: &Scene) -> Result<()> {
    let (content, (_, what)) = (pattern(UPLOAD), scene.upload_path("upload"));
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &content)?;
    let url = format!("http://{}{}", scene.at, scene.path(&what));
    let got = curl(["-T", &file.path().display().to_string(), "-w", " %{http_code}", &url])?.text();
    if !scene.server.stores {
        let expected = format!("{} 200", sha256(&content)?);
        ensure!(got == expected, "{got} in place of {expected}");
        return Ok(());
    }
    ensure!(got.ends_with(" 201") || got.ends_with(" 204"), "{got}");
    ensure!(curl([url])?.stdout == content, "other bytes are stored");
    Ok(())
}

/// A rejection while content is still being sent reaches the client.
fn refused(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    let method = if scene.server.stores { "PUT" } else { "POST" };
    client.send(scene.head(method, "refuse", &format!("Content-Length: {REFUSED}\r\n")))?;
    let sender = client.send_beside(vec![b'x'; REFUSED])?;
    let answer = client.answer();
    client.shut();
    let _ = sender.join();
    let status = answer?.head.status;
    ensure!(status == 413, "{status} in place of 413");
    scene.goes_on(&mut scene.client()?)
}

fn chunked_up(scene: &Scene) -> Result<()> {
    send_chunked(scene, "chunked", &down(), "")
}

fn trailers_up(scene: &Scene) -> Result<()> {
    send_chunked(scene, "trailed", b"hello", "X-Check: 1\r\nX-Sum: 2\r\n")
}

fn send_chunked(scene: &Scene, file: &str, content: &[u8], trailers: &str) -> Result<()> {
    let (method, what) = scene.upload_path(file);
    let mut client = scene.client()?;
    client.send(scene.head(method, &what, "Transfer-Encoding: chunked\r\n"))?;
    for chunk in content.chunks(7000) {
        client.send(format!("{:x}\r\n", chunk.len()))?;
        client.send(chunk)?;
        client.send("\r\n")?;
    }
    client.send(format!("0\r\n{trailers}\r\n"))?;
    scene.has_arrived(&client.answer()?, &what, content)?;
    scene.goes_on(&mut client)
}

fn chunked_down(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    is(&scene.get(&mut client, "down")?, 200, &down())?;
    scene.goes_on(&mut client)
}

/// Including names that are forbidden in trailers: they are dropped or forwarded, and the response is intact.
fn trailers_down(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    let answer = scene.get(&mut client, "trailers")?;
    is(&answer, 200, b"with trailers\n")?;
    ensure!(answer.head.field("cache-control").is_none(), "a trailer became a field: {:?}", answer.head);
    scene.goes_on(&mut client)
}

/// The example of RFC 6455, section 1.3, and a frame in each direction.
fn upgrade(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client.send(scene.head("GET", "echo", fields))?;
    let head = client.head()?;
    ensure!(head.status == 101, "{}", head.status);
    let accept = head.field("sec-websocket-accept");
    ensure!(accept == Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head:?}");
    for text in ["hello", "again"] {
        let mask = [1, 2, 3, 4];
        let masked = text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let frame: Vec<u8> = [0x81, 0x80 | 5].into_iter().chain(mask).chain(masked).collect();
        client.send(frame)?;
        let echoed = client.exactly(7)?;
        ensure!(echoed == [&[0x81, 5], text.as_bytes()].concat(), "{echoed:?}");
    }
    Ok(())
}

/// The second event is sent once the first has been seen.
fn events(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    client.send(scene.head("GET", "sse", ""))?;
    let head = client.head()?;
    ensure!(head.status == 200, "{}", head.status);
    let mut seen = Vec::new();
    while seen != b"data: 1\n\n" {
        ensure!(seen.len() < 9, "{:?}", String::from_utf8_lossy(&seen));
        seen.extend(client.chunk()?.context("only one event, and not whole")?);
    }
    scene.stage.tell(scene.server, "sse")?;
    let rest = client.content(&head)?;
    ensure!(rest == b"data: 2\n\n", "{:?}", String::from_utf8_lossy(&rest));
    Ok(())
}

/// A worker that closes after each response: the client's connection stays open.
fn close(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    for round in 0..10 {
        let answer = scene.get(&mut client, "close").with_context(|| format!("round {round}"))?;
        ensure!(answer.head.status == 200, "round {round}: {}", answer.head.status);
    }
    Ok(())
}

/// Every server closes links that were idle for a second. The next request succeeds whenever it comes: the pauses are chosen to
/// be close to that moment, but the result must not depend on them.
fn idle(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    for round in 0..10 {
        scene.goes_on(&mut client).with_context(|| format!("round {round}"))?;
        std::thread::sleep(Duration::from_millis(950 + 10 * round));
    }
    Ok(())
}

/// Without Host; this client does not know chunked coding.
fn old_client(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    client.send(format!("GET {} HTTP/1.0\r\n\r\n", scene.path("down")))?;
    let answer = client.answer()?;
    is(&answer, 200, &down())?;
    ensure!(answer.head.field("transfer-encoding").is_none(), "{:?}", answer.head);
    client.is_over()
}

fn cut(scene: &Scene) -> Result<()> {
    breaks_off(scene, "cut", scene.server.cut_by)
}

fn reset(scene: &Scene) -> Result<()> {
    breaks_off(scene, "reset", By::Application)
}

/// The client has received a part, and must not take it for the whole.
fn breaks_off(scene: &Scene, what: &str, by: By) -> Result<()> {
    let mut client = scene.client()?;
    client.send(scene.head("GET", what, ""))?;
    let head: Head = client.head()?;
    ensure!(head.status == 200, "{}", head.status);
    match by {
        By::Application => scene.stage.tell(scene.server, what)?,
        By::Signal(mark) => signal(scene, mark, Signal::KILL)?,
    }
    if let Ok(content) = client.content(&head) {
        bail!("{} bytes pass for the whole answer", content.len());
    }
    scene.goes_on(&mut scene.client()?)
}

/// 504 after the pool's response_timeout, then normal service.
fn hang(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    let answer = match scene.server.hang_by {
        By::Application => {
            let answer = scene.get(&mut client, "hang");
            scene.stage.tell(scene.server, "hang")?;
            answer
        }
        By::Signal(mark) => {
            signal(scene, mark, Signal::STOP)?;
            let answer = scene.get(&mut client, "get");
            signal(scene, mark, Signal::CONT)?;
            answer
        }
    };
    let status = answer?.head.status;
    ensure!(status == 504, "{status} in place of 504");
    scene.goes_on(&mut scene.client()?)
}

/// Not visible to a client that only reads.
fn crash(scene: &Scene) -> Result<()> {
    let mut client = scene.client()?;
    match scene.server.crash_by {
        By::Application => is(&scene.get(&mut client, "crash")?, 200, b"again\n")?,
        By::Signal(mark) => signal(scene, mark, Signal::KILL)?,
    }
    scene.goes_on(&mut client)
}

fn signal(scene: &Scene, mark: &str, signal: Signal) -> Result<()> {
    scene.stage.processes(mark)?.iter().for_each(|process| process.signal(signal));
    Ok(())
}
