//! Timers of client connections.

use core::time::Duration;

/// How long a connection may stay in each state. Names are HTTP.sys's, values are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// From the TCP handshake, or the first byte of a head, to the head's end.
    pub header_wait: Duration,
    /// Between two requests.
    pub idle_connection: Duration,
    /// Between two bytes, in either direction, after a protocol switch.
    pub tunnel_idle: Duration,
    /// Between two pieces of a response of unknown length.
    pub stream_idle: Duration,
    /// Between two pieces of request content.
    pub entity_body: Duration,
    /// For discarding unwanted content after the response.
    pub drain_entity_body: Duration,
    /// Between two acknowledgements of response bytes by the client.
    pub send_stall: Duration,
    /// After our FIN: between two pieces of further input, and to the client's FIN.
    pub linger: Duration,
    /// From our FIN to the client's, whatever it sends.
    pub linger_in_all: Duration,
    /// From the TCP handshake to the end of the TLS handshake.
    pub tls_handshake: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            header_wait: Duration::from_secs(30),
            idle_connection: Duration::from_secs(120),
            tunnel_idle: Duration::from_secs(3600),
            stream_idle: Duration::from_secs(3600),
            entity_body: Duration::from_secs(60),
            drain_entity_body: Duration::from_secs(30),
            send_stall: Duration::from_secs(60),
            linger: Duration::from_secs(5),
            linger_in_all: Duration::from_secs(30),
            tls_handshake: Duration::from_secs(10),
        }
    }
}
