//! How long a client connection may stay in each of its states.

use core::time::Duration;

/// How long a connection may stay in each state. HTTP.sys's names; stricter values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// From the first byte of a head, or from the handshake, to the head's end.
    pub header_wait: Duration,
    /// Between two requests.
    pub idle_connection: Duration,
    /// Between two bytes, either way, of a connection that has changed its protocol.
    pub tunnel_idle: Duration,
    /// Between two pieces of an answer that has begun and whose length was not said.
    pub stream_idle: Duration,
    /// Between two pieces of a request's content.
    pub entity_body: Duration,
    /// For discarding content nobody wants after the response.
    pub drain_entity_body: Duration,
    /// Between two moments at which the client takes response bytes.
    pub send_stall: Duration,
    /// After our FIN, between two pieces of what the client still sends, and to its own.
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
