//! The host's end of the control connection to the appliance.

use crate::relay::target::connect_vsock;
use anyhow::{Context, Result, anyhow, bail};
use model::control::CONTROL_PORT;
use model::control::frame::{Decoder, encode};
use model::control::message::{Answer, Ask, Message, PREAMBLE, PoolInfo, Refusal, Request};
use model::id::PoolId;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use zeroize::{Zeroize as _, Zeroizing};

/// Interval between attempts to reach the appliance.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Time limit for the vsock daemon to report whether the appliance accepts.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Time limit for a reply.
const REPLY_LIMIT: Duration = Duration::from_secs(10);

/// Unsolicited messages from the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// Connected, perhaps again: the appliance gives no requests to workers reported over an earlier connection.
    Connected,
    /// Requests are queued in this pool, the oldest for this long.
    Demand(PoolId, Duration),
}

type Reply = oneshot::Sender<Result<Answer, Refusal>>;

/// Sends requests to the appliance.
#[derive(Clone, Debug)]
pub struct Client {
    asks: mpsc::UnboundedSender<(Request, Reply)>,
}

impl Client {
    /// Connects to the appliance whose vsock is at `vsock`, and reconnects while the returned task runs. The receiver of the news
    /// must manage the appliance's workers.
    pub fn start(
        vsock: PathBuf,
        news: Option<mpsc::UnboundedSender<Notification>>,
    ) -> (Self, impl Future<Output = ()>) {
        let (asks, asked) = mpsc::unbounded_channel();
        (Self { asks }, stay_connected(vsock, asked, news))
    }

    /// Sends a request without waiting for its reply; a refusal is printed.
    pub(super) fn tell(&self, request: Request) {
        let what = format!("{request:?}");
        let replied = self.send(request);
        tokio::task::spawn_local(async move {
            if let Ok(Err(refusal)) = replied.await {
                eprintln!("[weir] the appliance refused {what}: {refusal}");
            }
        });
    }

    /// Sends a request and waits for its reply. Fails if there is no connection.
    pub async fn ask(&self, request: Request) -> Result<Result<Answer, Refusal>> {
        self.send(request).await
    }

    /// Sends a request now, before anything sent after this call; the future waits for its reply. The appliance handles requests
    /// in order, so a reply confirms all earlier requests as well.
    pub(super) fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Result<Answer, Refusal>>> + use<> {
        let (reply, replied) = oneshot::channel();
        let sent = self.asks.send((request, reply)).map_err(|_| anyhow!("the supervisor is ending"));
        async move {
            sent?;
            timeout(REPLY_LIMIT, replied).await.context("no reply")?.context("not connected to the appliance")
        }
    }

    /// Fetches one pool.
    pub(super) async fn pool(&self, pool: PoolId) -> Result<PoolInfo> {
        match self.ask(Request::Pools(pool)).await?? {
            Answer::Pools(page) => page.into_iter().next().context("unknown pool"),
            _ => bail!("unexpected reply"),
        }
    }

    /// Fetches all pools with their workers.
    pub(super) async fn pools(&self) -> Result<Vec<PoolInfo>> {
        let mut pools = Vec::new();
        while let Some(from) = PoolId::at(pools.len())
            && let Answer::Pools(page) = self.ask(Request::Pools(from)).await??
            && !page.is_empty()
        {
            pools.extend(page);
        }
        Ok(pools)
    }
}

async fn stay_connected(
    vsock: PathBuf,
    mut asks: mpsc::UnboundedReceiver<(Request, Reply)>,
    news: Option<mpsc::UnboundedSender<Notification>>,
) {
    loop {
        // Refused while the appliance boots.
        if let Ok(stream) = connect(&vsock).await
            && let Err(error) = talk(stream, &mut asks, news.as_ref()).await
        {
            eprintln!("[weir] control connection: {error:#}; connecting again");
        }
        // Without a connection there is no reply: dropping these requests tells their senders.
        while asks.try_recv().is_ok() {}
        if asks.is_closed() {
            return;
        }
        sleep(RETRY_PAUSE).await;
    }
}

async fn connect(vsock: &Path) -> Result<UnixStream> {
    timeout(CONNECT_LIMIT, connect_vsock(vsock, CONTROL_PORT))
        .await
        .context("no reply")?
        .map(|(stream, _)| stream)
}

async fn talk(
    mut stream: UnixStream,
    asks: &mut mpsc::UnboundedReceiver<(Request, Reply)>,
    news: Option<&mpsc::UnboundedSender<Notification>>,
) -> Result<()> {
    let (mut decoder, mut waiting, mut id) = (Decoder::default(), HashMap::<u32, Reply>::new(), 1_u32);
    // Private keys pass through it.
    let mut frames = Zeroizing::new(PREAMBLE.to_vec());
    if news.is_some() {
        encode(&Ask { id, request: Request::Supervise }, &mut frames);
    }
    let pass_on = |what| {
        if let Some(news) = news {
            // Fails only if the supervisor is gone.
            let _ = news.send(what);
        }
    };
    stream.write_all(&frames).await?;
    let mut buffer = vec![0; 16 << 10];
    loop {
        tokio::select! {
            asked = asks.recv() => {
                let Some((request, reply)) = asked else { return Ok(()) };
                id = id.checked_add(1).unwrap_or(2);
                frames.zeroize();
                if !encode(&Ask { id, request }, &mut frames) {
                    let _ = reply.send(Err(Refusal::Malformed));
                    continue;
                }
                waiting.retain(|_, reply| !reply.is_closed());
                waiting.insert(id, reply);
                stream.write_all(&frames).await?;
            }
            read = stream.read(&mut buffer) => {
                let n = read?;
                if n == 0 {
                    bail!("the appliance closed it");
                }
                decoder.push(&buffer[..n]);
                while let Some(message) = decoder.next_message::<Message>()? {
                    match message.context("an invalid message")? {
                        Message::Reply { id: 1, .. } => pass_on(Notification::Connected),
                        Message::Demand { pool, waited_ns } => {
                            pass_on(Notification::Demand(pool, Duration::from_nanos(waited_ns)));
                        }
                        Message::Reply { id, result } => {
                            if let Some(reply) = waiting.remove(&id) {
                                let _ = reply.send(result);
                            }
                        }
                    }
                }
            }
        }
    }
}
