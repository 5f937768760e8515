//! Finds out when the appliance responds, and at which URLs.

use super::UpArgs;
use crate::vm::net::{Net, NetKind};
use crate::vm::serial::Serial;
use anyhow::{Result, ensure};
use image::config::Config;
use model::url::Scheme;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Time limit of the first attempt. Short, because a SYN that reaches a VM before its network is up is only repeated after a
/// second; it grows, because any response may take longer on a busy host.
const FIRST_PATIENCE: Duration = Duration::from_millis(50);
const LONGEST_PATIENCE: Duration = Duration::from_secs(2);
/// Start of the appliance's serial line that shows its address.
const ADDRESS_LINE: &str = "address ";

/// Start of the serial line that says it accepts connections there.
const SERVING_LINE: &str = "serving at ";

/// Where the appliance is reached from the host.
#[derive(Clone, Debug)]
pub(super) struct Url {
    /// `None`: assigned by an external DHCP server.
    address: Option<Ipv4Addr>,
    http: Option<u16>,
    https: Option<u16>,
    /// Whether the appliance expects a PROXY protocol header first.
    proxied: bool,
}

impl Url {
    pub(super) fn new(net: &Net, args: &UpArgs, config: &Config) -> Result<Self> {
        let (http, https) = (config.first_port(Scheme::Http), config.first_port(Scheme::Https));
        ensure!(http.or(https).is_some(), "no site has a URL prefix");
        let proxied = http.or(https).is_some_and(|port| config.trust.proxy_protocol.contains(&port));
        Ok(match net.kind {
            NetKind::Passt | NetKind::User | NetKind::OwnTap => Self {
                address: Some(if net.listen.is_unspecified() { Ipv4Addr::LOCALHOST } else { net.listen }),
                http: http.map(|_| args.http_port),
                https: https.map(|_| args.https_port),
                proxied,
            },
            NetKind::Tap(_) => {
                Self { address: net.address.map(|address| address.address.into()), http, https, proxied }
            }
        })
    }

    /// Waits for the first HTTP response of any status and returns the URLs as text. An https port also responds to plain HTTP:
    /// that it needs TLS.
    pub(super) async fn answers(&self, serial: &Serial) -> impl fmt::Display + use<> {
        let mut patience = FIRST_PATIENCE;
        loop {
            let address =
                self.address.or_else(|| serial.value_after(ADDRESS_LINE)?.split('/').next()?.parse().ok());
            if let (Some(address), Some(port)) = (address, self.http.or(self.https)) {
                let at = SocketAddrV4::new(address, port);
                let answer = timeout(patience, is_http(at, self.proxied)).await;
                // The host may not be allowed to send such a header. Then the end of the connection is the response, of an
                // appliance that has an address.
                let refused = self.proxied
                    && matches!(answer, Ok(Err(_)))
                    && serial.value_after(SERVING_LINE).is_some();
                if refused || matches!(answer, Ok(Ok(true))) {
                    return self.words(address);
                }
                patience = (patience + patience / 4).min(LONGEST_PATIENCE);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn words(&self, address: Ipv4Addr) -> String {
        let url = |scheme: &str, port: Option<u16>| port.map(|port| format!("{scheme}://{address}:{port}"));
        let urls = [url("http", self.http), url("https", self.https)];
        urls.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

async fn is_http(at: SocketAddrV4, proxied: bool) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(at).await?;
    let header = if proxied { "PROXY UNKNOWN\r\n" } else { "" };
    stream
        .write_all(format!("{header}HEAD / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut start = [0; 7];
    stream.read_exact(&mut start).await?;
    Ok(&start == b"HTTP/1.")
}
