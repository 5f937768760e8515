//! Why a request was refused or a connection ended, in the words of HTTP.sys's HTTPERR log.
//!
//! Below every other module, because `http`, `site`, `pool` and `log` all speak of it.

/// An HTTPERR reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The pool was taken out of service after repeated failures (rapid-fail protection).
    AppOffline,
    /// The pool is too busy to take the request.
    AppPoolTimer,
    /// The pool was shut down by policy.
    AppShutdown,
    /// A parse error not covered by a more exact phrase.
    BadRequest,
    /// A client certificate that has expired or is not valid yet (IIS: 403.17).
    ClientCertExpired,
    /// A client certificate is required (IIS: 403.7).
    ClientCertRequired,
    /// A client certificate that was revoked, or whose revocation nothing is known of (IIS: 403.13).
    ClientCertRevoked,
    /// A client certificate that leads to no trust anchor, or is no such certificate (IIS: 403.16).
    ClientCertUntrusted,
    /// The client left before the request was given to a worker.
    ClientReset,
    /// A worker died or closed with this request in hand.
    ConnectionAbandonedByAppPool,
    /// The queue gave up this request.
    ConnectionAbandonedByReqQueue,
    /// The client was gone before the last packet.
    ConnectionDropped,
    /// As above, while the list of dropped connections was full.
    ConnectionDroppedListFull,
    /// Memory is short: new connections are refused.
    ConnectionsRefused,
    /// A connection limit (site, client or server).
    ConnLimit,
    /// Taken offline by the administrator.
    Disabled,
    /// The content is longer than allowed.
    EntityTooLarge,
    /// A field is longer than allowed.
    FieldLength,
    /// A forbidden element or sequence in the URL.
    Forbidden,
    /// A parse error in a field.
    Header,
    /// A parse error in the host.
    Hostname,
    /// An internal error.
    Internal,
    /// A CR or LF where none may be.
    InvalidCrLf,
    /// Content without a length.
    LengthRequired,
    /// An internal shortage.
    NotAvailable,
    /// Not implemented.
    NotImplemented,
    /// The host is one of another site than the name the client gave in its TLS handshake.
    Misdirected,
    /// A parse error in a number.
    Number,
    /// A precondition evaluated to false.
    Precondition,
    /// A connection that has to begin with a header of the PROXY protocol did not, or came from somebody whose word is not taken.
    /// Not one of HTTP.sys's phrases: it does not speak that protocol.
    ProxyHeader,
    /// The request queue is full.
    QueueFull,
    /// Requests for this have ended workers one after the other, and are refused for a while. Not one of HTTP.sys's phrases.
    RequestEndsWorkers,
    /// The head is longer than allowed.
    RequestLength,
    /// More requests per second than allowed. Not one of HTTP.sys's phrases: it has no such limit.
    RequestRate,
    /// The request waited too long for the pool.
    TimerAppPool,
    /// A kept-alive connection was idle too long.
    TimerConnectionIdle,
    /// Content arrived too slowly.
    TimerEntityBody,
    /// The head arrived too slowly.
    TimerHeaderWait,
    /// The client took the response too slowly.
    TimerMinBytesPerSecond,
    /// The request waited too long in the queue.
    TimerReqQueue,
    /// The response took too long.
    TimerResponse,
    /// A parse error in the URL.
    Url,
    /// The URL is longer than allowed.
    UrlLength,
    /// A parse error in the method.
    Verb,
    /// A protocol version we do not speak.
    VersionNotSupported,
}

impl Reason {
    /// Every reason, in the order of its number, for metrics.
    pub const ALL: [Self; 45] = [
        Self::AppOffline,
        Self::AppPoolTimer,
        Self::AppShutdown,
        Self::BadRequest,
        Self::ClientCertExpired,
        Self::ClientCertRequired,
        Self::ClientCertRevoked,
        Self::ClientCertUntrusted,
        Self::ClientReset,
        Self::ConnectionAbandonedByAppPool,
        Self::ConnectionAbandonedByReqQueue,
        Self::ConnectionDropped,
        Self::ConnectionDroppedListFull,
        Self::ConnectionsRefused,
        Self::ConnLimit,
        Self::Disabled,
        Self::EntityTooLarge,
        Self::FieldLength,
        Self::Forbidden,
        Self::Header,
        Self::Hostname,
        Self::Internal,
        Self::InvalidCrLf,
        Self::LengthRequired,
        Self::NotAvailable,
        Self::NotImplemented,
        Self::Misdirected,
        Self::Number,
        Self::Precondition,
        Self::ProxyHeader,
        Self::QueueFull,
        Self::RequestEndsWorkers,
        Self::RequestLength,
        Self::RequestRate,
        Self::TimerAppPool,
        Self::TimerConnectionIdle,
        Self::TimerEntityBody,
        Self::TimerHeaderWait,
        Self::TimerMinBytesPerSecond,
        Self::TimerReqQueue,
        Self::TimerResponse,
        Self::Url,
        Self::UrlLength,
        Self::Verb,
        Self::VersionNotSupported,
    ];

    /// A timer ended the connection or the request.
    pub const fn is_timer(self) -> bool {
        matches!(
            self,
            Self::TimerAppPool
                | Self::TimerConnectionIdle
                | Self::TimerEntityBody
                | Self::TimerHeaderWait
                | Self::TimerMinBytesPerSecond
                | Self::TimerReqQueue
                | Self::TimerResponse
        )
    }

    /// The phrase as HTTPERR writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppOffline => "AppOffline",
            Self::AppPoolTimer => "AppPoolTimer",
            Self::AppShutdown => "AppShutdown",
            Self::BadRequest => "BadRequest",
            Self::ClientCertExpired => "ClientCert_Expired",
            Self::ClientCertRequired => "ClientCert_Required",
            Self::ClientCertRevoked => "ClientCert_Revoked",
            Self::ClientCertUntrusted => "ClientCert_Untrusted",
            Self::ClientReset => "Client_Reset",
            Self::ConnectionAbandonedByAppPool => "Connection_Abandoned_By_AppPool",
            Self::ConnectionAbandonedByReqQueue => "Connection_Abandoned_By_ReqQueue",
            Self::ConnectionDropped => "Connection_Dropped",
            Self::ConnectionDroppedListFull => "Connection_Dropped_List_Full",
            Self::ConnectionsRefused => "Connections_Refused",
            Self::ConnLimit => "ConnLimit",
            Self::Disabled => "Disabled",
            Self::EntityTooLarge => "EntityTooLarge",
            Self::FieldLength => "FieldLength",
            Self::Forbidden => "Forbidden",
            Self::Header => "Header",
            Self::Hostname => "Hostname",
            Self::Internal => "Internal",
            Self::InvalidCrLf => "Invalid_CR/LF",
            Self::LengthRequired => "LengthRequired",
            Self::NotAvailable => "N/A",
            Self::NotImplemented => "N/I",
            Self::Misdirected => "Misdirected",
            Self::Number => "Number",
            Self::Precondition => "Precondition",
            Self::ProxyHeader => "Proxy_Header",
            Self::QueueFull => "QueueFull",
            Self::RequestEndsWorkers => "Request_Ends_Workers",
            Self::RequestLength => "RequestLength",
            Self::RequestRate => "RequestRate",
            Self::TimerAppPool => "Timer_AppPool",
            Self::TimerConnectionIdle => "Timer_ConnectionIdle",
            Self::TimerEntityBody => "Timer_EntityBody",
            Self::TimerHeaderWait => "Timer_HeaderWait",
            Self::TimerMinBytesPerSecond => "Timer_MinBytesPerSecond",
            Self::TimerReqQueue => "Timer_ReqQueue",
            Self::TimerResponse => "Timer_Response",
            Self::Url => "URL",
            Self::UrlLength => "URL_Length",
            Self::Verb => "Verb",
            Self::VersionNotSupported => "Version_N/S",
        }
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}
