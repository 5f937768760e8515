//! Why a request was refused or a connection ended, by the phrases of HTTP.sys's HTTPERR log.
//!
//! Each reason has one row below. It does not determine the status of a response: as in HTTP.sys, a phrase
//! goes with several statuses (`URL` with 400 and 421, `FieldLength` with 431 and 400), so refusals state
//! both.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident $phrase:literal $($class:ident)?;)*) => {
        /// An HTTPERR reason phrase. Numbered from 0 without gaps, for tables of counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The phrase as in HTTPERR.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $phrase,)*
                }
            }

            /// Whether a timer ended the connection or request.
            pub const fn is_timer(self) -> bool {
                match self {
                    $(Self::$variant => is!($($class)?),)*
                }
            }
        }
    };
}

macro_rules! is {
    (timer) => {
        true
    };
    () => {
        false
    };
}

reasons! {
    /// The pool was taken out of service after repeated failures (rapid-fail protection).
    AppOffline "AppOffline";
    /// The pool was shut down by policy.
    AppShutdown "AppShutdown";
    /// A parse error without a more specific phrase.
    BadRequest "BadRequest";
    /// A client certificate that has expired or is not valid yet (IIS: 403.17).
    ClientCertExpired "ClientCert_Expired";
    /// A client certificate is required (IIS: 403.7).
    ClientCertRequired "ClientCert_Required";
    /// A client certificate that was revoked or whose revocation status is unknown (IIS: 403.13).
    ClientCertRevoked "ClientCert_Revoked";
    /// A client certificate that chains to no trust anchor, or is not a client certificate (IIS: 403.16).
    ClientCertUntrusted "ClientCert_Untrusted";
    /// The client left before the request was given to a worker.
    ClientReset "Client_Reset";
    /// A worker died or closed the connection while it had this request.
    ConnectionAbandonedByAppPool "Connection_Abandoned_By_AppPool";
    /// The client disconnected before the last packet.
    ConnectionDropped "Connection_Dropped";
    /// Memory is short: new connections are refused.
    ConnectionsRefused "Connections_Refused";
    /// A connection limit (site, client or server).
    ConnLimit "ConnLimit";
    /// Taken offline by the administrator.
    Disabled "Disabled";
    /// The content is longer than allowed.
    EntityTooLarge "EntityTooLarge";
    /// A field is longer than allowed.
    FieldLength "FieldLength";
    /// A forbidden element or sequence in the URL.
    Forbidden "Forbidden";
    /// A parse error in a field.
    Header "Header";
    /// A parse error in the host.
    Hostname "Hostname";
    /// An internal error.
    Internal "Internal";
    /// A misplaced CR or LF.
    InvalidCrLf "Invalid_CR/LF";
    /// A resource shortage.
    NotAvailable "N/A";
    /// Not implemented.
    NotImplemented "N/I";
    /// The host belongs to another site than the name in the client's TLS handshake.
    Misdirected "Misdirected";
    /// A parse error in a number.
    Number "Number";
    /// A connection that must begin with a PROXY protocol header did not, or came from an untrusted address.
    /// Not an HTTP.sys phrase, since HTTP.sys does not support that protocol.
    ProxyHeader "Proxy_Header";
    /// The request queue is full.
    QueueFull "QueueFull";
    /// Such requests have ended several workers, and are refused for a while. Not an HTTP.sys phrase.
    RequestEndsWorkers "Request_Ends_Workers";
    /// The head is longer than allowed.
    RequestLength "RequestLength";
    /// More requests per second than allowed. Not an HTTP.sys phrase, since HTTP.sys has no such limit.
    RequestRate "RequestRate";
    /// A persistent connection was idle for too long.
    TimerConnectionIdle "Timer_ConnectionIdle" timer;
    /// Content arrived too slowly.
    TimerEntityBody "Timer_EntityBody" timer;
    /// The head arrived too slowly.
    TimerHeaderWait "Timer_HeaderWait" timer;
    /// The client took the response too slowly.
    TimerMinBytesPerSecond "Timer_MinBytesPerSecond" timer;
    /// The request waited too long in the queue.
    TimerReqQueue "Timer_ReqQueue" timer;
    /// The response took too long.
    TimerResponse "Timer_Response" timer;
    /// A parse error in the URL.
    Url "URL";
    /// The URL is longer than allowed.
    UrlLength "URL_Length";
    /// A parse error in the method.
    Verb "Verb";
    /// An unsupported protocol version.
    VersionNotSupported "Version_N/S";
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;
    use std::collections::BTreeSet;

    #[test]
    fn phrases_are_unique_and_timers_are_named_so() {
        let phrases: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(phrases.len(), Reason::ALL.len());
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(reason.is_timer(), reason.as_str().starts_with("Timer_"), "{reason}");
            assert!(
                !reason.as_str().contains(' '),
                "{reason}: the error log separates its fields with blanks"
            );
        }
    }
}
