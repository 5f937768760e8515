//! The fields of the access log.

use serde::{Deserialize, Serialize};

macro_rules! fields {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal;)*) => {
        /// A field of the access log, with its W3C extended log name as in HTTP.sys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Field {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Field {
            /// All fields in HTTP.sys's order, followed by Weir's own.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in `#Fields:` and in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

fields! {
    /// Date on which the request ended, UTC.
    Date "date";
    /// Time of day, UTC.
    Time "time";
    /// The site's name.
    SiteName "s-sitename";
    /// The appliance's name.
    ComputerName "s-computername";
    /// The local address.
    ServerIp "s-ip";
    /// Method.
    Method "cs-method";
    /// Path as received.
    UriStem "cs-uri-stem";
    /// Query as received.
    UriQuery "cs-uri-query";
    /// The local port.
    ServerPort "s-port";
    /// User name: always empty, since there is no authentication.
    UserName "cs-username";
    /// The client's address.
    ClientIp "c-ip";
    /// The client's port.
    ClientPort "c-port";
    /// Protocol version.
    Version "cs-version";
    /// User-Agent.
    UserAgent "cs(User-Agent)";
    /// Cookie.
    Cookie "cs(Cookie)";
    /// Referer.
    Referer "cs(Referer)";
    /// Host as received.
    Host "cs-host";
    /// Status code of the response; 0 if none was sent.
    Status "sc-status";
    /// Always 0.
    Substatus "sc-substatus";
    /// 0, or a Windows error code if the response is incomplete.
    Win32Status "sc-win32-status";
    /// Bytes sent.
    BytesSent "sc-bytes";
    /// Bytes received: head and content.
    BytesReceived "cs-bytes";
    /// Milliseconds from the request's first byte until the response's last byte was passed to TCP.
    TimeTaken "time-taken";
    /// Why it was refused, as an HTTPERR phrase. Weir's own.
    Reason "s-reason";
    /// The pool. Weir's own, with HTTPERR's name.
    QueueName "s-queuename";
    /// Subject of the verified client certificate (RFC 4514). Weir's own.
    ClientCertSubject "cs-cert-subject";
    /// Its serial number in hexadecimal. Weir's own.
    ClientCertSerial "cs-cert-serial";
    /// Its SHA-256 fingerprint in hexadecimal. Weir's own.
    ClientCertFingerprint "cs-cert-fingerprint";
}

impl Field {
    /// IIS 10's default fields.
    pub const DEFAULT: &[Self] = &[
        Self::Date,
        Self::Time,
        Self::ServerIp,
        Self::Method,
        Self::UriStem,
        Self::UriQuery,
        Self::ServerPort,
        Self::UserName,
        Self::ClientIp,
        Self::UserAgent,
        Self::Referer,
        Self::Status,
        Self::Substatus,
        Self::Win32Status,
        Self::TimeTaken,
    ];

    /// Whether the value is a number in JSON.
    pub const fn is_number(self) -> bool {
        matches!(
            self,
            Self::ServerPort
                | Self::ClientPort
                | Self::Status
                | Self::Substatus
                | Self::Win32Status
                | Self::BytesSent
                | Self::BytesReceived
                | Self::TimeTaken
        )
    }

    /// The field with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        for &field in Field::ALL {
            assert_eq!(Field::from_name(field.name()), Some(field));
        }
        assert_eq!(Field::from_name("CS(user-agent)"), Some(Field::UserAgent));
        assert_eq!(Field::from_name("streamid"), None);
    }
}
