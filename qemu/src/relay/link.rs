//! Two streams joined.

use super::Counters;
use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;

/// Bytes held per direction. The vsock daemons move up to 64 KiB at a time.
pub const BUFFER: usize = 64 * 1024;

/// Longest wait for a peer to close its side too.
pub const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Why a direction stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The side it reads from ended, and all it sent is written.
    SourceEnded,
    /// The side it writes to takes no more.
    SinkEnded,
}

/// Moves bytes both ways until one side has ended and what it sent is delivered.
pub async fn join<A, W>(appliance: &mut A, worker: &mut W, counters: &Counters)
where
    A: AsyncRead + AsyncWrite + Unpin,
    W: AsyncRead + AsyncWrite + Unpin,
{
    let (from_appliance, to_appliance) = split(appliance);
    let (from_worker, to_worker) = split(worker);
    let mut up = std::pin::pin!(pump(from_appliance, to_worker, &counters.to_worker));
    let mut down = std::pin::pin!(pump(from_worker, to_appliance, &counters.from_worker));
    // A side that takes no more may have sent something before it went: the other direction runs to its end, which a
    // side that is gone bounds by itself.
    tokio::select! {
        stop = &mut up => if stop == Stop::SinkEnded { down.await; },
        stop = &mut down => if stop == Stop::SinkEnded { up.await; },
    }
}

/// Ends a stream such that its peer learns of it. One closed with something unread is a reset to the peer, which the vsock
/// daemon drops without a word to its guest, whose stream then hangs; so what still comes is read and forgotten until
/// the peer has closed its side, at most for [`CLOSE_LIMIT`].
pub async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    // Fails if the peer has gone already.
    let _ = stream.shutdown().await;
    let mut rest = [0; 4096];
    let read = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
    let _ = timeout(CLOSE_LIMIT, read).await;
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, bytes: &Cell<u64>) -> Stop {
    let mut buffer = vec![0; BUFFER].into_boxed_slice();
    loop {
        let n = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return Stop::SourceEnded,
            Ok(n) => n,
        };
        if to.write_all(&buffer[..n]).await.is_err() {
            return Stop::SinkEnded;
        }
        Counters::add(bytes, n as u64);
    }
}
