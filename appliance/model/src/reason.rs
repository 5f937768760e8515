//! Why a request was refused or a connection ended, in the words of HTTP.sys's HTTPERR log.
//!
//! A reason has one row below. The status of a response is not part of it: as in HTTP.sys, one phrase goes with several
//! statuses (`URL` with 400 and 421, `FieldLength` with 431 and 400), so whoever refuses a request names both.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident $phrase:literal $($class:ident)?;)*) => {
        /// An HTTPERR reason phrase. The numbers count from 0 without a gap, for tables of counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The phrase as HTTPERR writes it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $phrase,)*
                }
            }

            /// A timer ended the connection or the request.
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
    /// A parse error not covered by a more exact phrase.
    BadRequest "BadRequest";
    /// A client certificate that has expired or is not valid yet (IIS: 403.17).
    ClientCertExpired "ClientCert_Expired";
    /// A client certificate is required (IIS: 403.7).
    ClientCertRequired "ClientCert_Required";
    /// A client certificate that was revoked, or whose revocation nothing is known of (IIS: 403.13).
    ClientCertRevoked "ClientCert_Revoked";
    /// A client certificate that leads to no trust anchor, or is no such certificate (IIS: 403.16).
    ClientCertUntrusted "ClientCert_Untrusted";
    /// The client left before the request was given to a worker.
    ClientReset "Client_Reset";
    /// A worker died or closed with this request in hand.
    ConnectionAbandonedByAppPool "Connection_Abandoned_By_AppPool";
    /// The client was gone before the last packet.
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
    /// A CR or LF where none may be.
    InvalidCrLf "Invalid_CR/LF";
    /// An internal shortage.
    NotAvailable "N/A";
    /// Not implemented.
    NotImplemented "N/I";
    /// The host is one of another site than the name the client gave in its TLS handshake.
    Misdirected "Misdirected";
    /// A parse error in a number.
    Number "Number";
    /// A connection that has to begin with a header of the PROXY protocol did not, or came from somebody whose word is not taken.
    /// Not one of HTTP.sys's phrases: it does not speak that protocol.
    ProxyHeader "Proxy_Header";
    /// The request queue is full.
    QueueFull "QueueFull";
    /// Requests for this have ended workers one after the other, and are refused for a while. Not one of HTTP.sys's phrases.
    RequestEndsWorkers "Request_Ends_Workers";
    /// The head is longer than allowed.
    RequestLength "RequestLength";
    /// More requests per second than allowed. Not one of HTTP.sys's phrases: it has no such limit.
    RequestRate "RequestRate";
    /// A kept-alive connection was idle too long.
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
    /// A protocol version we do not speak.
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
    fn phrases_tell_reasons_apart_and_timers_are_named_so() {
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
