//! Connects two streams.

use super::Counters;
use std::cell::Cell;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;

/// Buffer size per direction in bytes. The vsock daemons move up to 64 KiB at a time.
pub const BUFFER: usize = 64 * 1024;

/// Time limit for a peer to close its side too.
pub const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Why a direction stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The source ended in order, and all its data was delivered.
    SourceEnded,
    /// The source failed.
    SourceFailed,
    /// The sink was closed.
    SinkEnded,
    /// The sink failed.
    SinkFailed,
}

/// How two connected streams ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By the appliance.
    Appliance,
    /// By the worker, in order, with all its data delivered.
    Whole,
    /// By the worker, by a reset.
    Cut,
}

/// Moves bytes both ways until one side has ended and its data is delivered.
pub async fn join<A, W>(
    appliance: &mut A,
    worker: &mut W,
    counters: &Counters,
    heard: &Cell<Option<Instant>>,
) -> End
where
    A: AsyncRead + AsyncWrite + Unpin,
    W: AsyncRead + AsyncWrite + Unpin,
{
    let (from_appliance, to_appliance) = split(appliance);
    let (from_worker, to_worker) = split(worker);
    let mut up = std::pin::pin!(pump(from_appliance, to_worker, &counters.to_worker, None));
    let mut down = std::pin::pin!(pump(from_worker, to_appliance, &counters.from_worker, Some(heard)));
    // A side that accepts no more data may have sent some before: the other direction runs to its end, which comes by itself once
    // that side is gone.
    let of_worker = |stop| match stop {
        Stop::SourceEnded => End::Whole,
        Stop::SourceFailed => End::Cut,
        Stop::SinkEnded | Stop::SinkFailed => End::Appliance,
    };
    tokio::select! {
        stop = &mut up => match stop {
            Stop::SourceEnded | Stop::SourceFailed => End::Appliance,
            Stop::SinkEnded => of_worker(down.await),
            // The error is reported only once; reading would see an orderly end.
            Stop::SinkFailed => match of_worker(down.await) {
                End::Appliance => End::Appliance,
                End::Whole | End::Cut => End::Cut,
            },
        },
        stop = &mut down => match of_worker(stop) {
            End::Appliance => {
                up.await;
                End::Appliance
            }
            end => end,
        },
    }
}

/// Ends a stream so that its peer notices. Closing with unread data is a reset to the peer, which the vsock daemon does not pass
/// on to its guest, so the guest's stream would hang. Therefore further data is read and discarded until the peer has closed its
/// side, for at most [`CLOSE_LIMIT`].
pub async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    // Fails if the peer has already gone.
    let _ = stream.shutdown().await;
    let mut rest = [0; 4096];
    let read = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
    let _ = timeout(CLOSE_LIMIT, read).await;
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: &Cell<u64>,
    heard: Option<&Cell<Option<Instant>>>,
) -> Stop {
    let mut buffer = vec![0; BUFFER].into_boxed_slice();
    loop {
        let n = match from.read(&mut buffer).await {
            Ok(0) => return Stop::SourceEnded,
            Err(_) => return Stop::SourceFailed,
            Ok(n) => n,
        };
        if let Some(heard) = heard {
            heard.set(Some(Instant::now()));
        }
        match to.write_all(&buffer[..n]).await {
            Ok(()) => {}
            // It had ended in order before (TCP: RST in response to data after its FIN).
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Stop::SinkEnded,
            Err(_) => return Stop::SinkFailed,
        }
        Counters::add(bytes, n as u64);
    }
}
