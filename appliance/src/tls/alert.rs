//! Alerts in the clear (RFC 8446 §6.2, RFC 5246 §7.2.2): what refuses a handshake before there are keys, each by its own
//! meaning.
//!
//! rustls sends its own. Where it has none, or one that means something else, [`Alert::of`] says the right one. Once there are
//! keys rustls's stands, since an alert then has to be encrypted: a record of an unknown kind or length that comes later is
//! told `decode_error`.

use rustls::{Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// An alert's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    HandshakeFailure = 40,
    IllegalParameter = 47,
    DecodeError = 50,
    ProtocolVersion = 70,
    InternalError = 80,
    /// RFC 7507
    InappropriateFallback = 86,
    UserCanceled = 90,
    MissingExtension = 109,
    UnrecognizedName = 112,
}

const WARNING: u8 = 1;
const FATAL: u8 = 2;
/// A record with an alert, up to its level and description.
const HEADER: [u8; 5] = [21, 3, 3, 0, 2];
/// Description of the alert that rustls refuses a client with for which there is no certificate.
const ACCESS_DENIED: u8 = 49;

impl Alert {
    /// A record that says so and ends the connection.
    pub(super) fn fatal(self) -> [u8; 7] {
        let [a, b, c, d, e] = HEADER;
        [a, b, c, d, e, FATAL, self as u8]
    }

    /// Two records: we give up a handshake in which nothing was wrong (RFC 8446 §6.1).
    pub(super) fn cancel() -> [u8; 14] {
        let [a, b, c, d, e] = HEADER;
        let (canceled, closed) = (Self::UserCanceled as u8, Self::CloseNotify as u8);
        [a, b, c, d, e, WARNING, canceled, a, b, c, d, e, WARNING, closed]
    }

    /// What an error of rustls's means to the client; `None` where it is not to be told.
    fn of(error: &Error) -> Option<Self> {
        Some(match error {
            // Who sends an alert knows.
            Error::AlertReceived(_) => return None,
            Error::InvalidMessage(InvalidMessage::InvalidContentType)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(
                PeerMisbehaved::MessageInterleavedWithHandshakeMessage
                | PeerMisbehaved::TooManyEmptyFragments
                | PeerMisbehaved::IllegalMiddleboxChangeCipherSpec
                | PeerMisbehaved::KeyEpochWithPendingFragment,
            ) => Self::UnexpectedMessage,
            Error::InvalidMessage(InvalidMessage::MessageTooLarge) | Error::PeerSentOversizedRecord => {
                Self::RecordOverflow
            }
            Error::InvalidMessage(
                InvalidMessage::DuplicateExtension(_) | InvalidMessage::PreSharedKeyIsNotFinalExtension,
            )
            | Error::PeerMisbehaved(_)
            | Error::PeerIncompatible(
                PeerIncompatible::NullCompressionRequired | PeerIncompatible::UncompressedEcPointsRequired,
            ) => Self::IllegalParameter,
            Error::InvalidMessage(_) => Self::DecodeError,
            Error::PeerIncompatible(_) => Self::HandshakeFailure,
            Error::DecryptError => Self::BadRecordMac,
            _ => Self::InternalError,
        })
    }

    /// Puts the right alert at the end of what rustls has written about this error, of which it begins at `start`.
    pub(super) fn correct(error: &Error, output: &mut alloc::vec::Vec<u8>, start: usize) {
        let own = output.get_mut(start..).unwrap_or_default();
        let better = match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::MessageTooLarge) => {
                Self::of(error)
            }
            _ => None,
        };
        match own {
            // No certificate is a lack of anything in common, not of a permission.
            [.., 21, 3, 3, 0, 2, FATAL, said] if *said == ACCESS_DENIED => {
                *said = Self::HandshakeFailure as u8
            }
            [.., 21, 3, 3, 0, 2, FATAL, said] => *said = better.map_or(*said, |alert| alert as u8),
            _ => {
                if let Some(alert) = Self::of(error) {
                    output.extend_from_slice(&alert.fatal());
                }
            }
        }
    }
}
