//! Plaintext alerts (RFC 8446 §6.2, RFC 5246 §7.2.2) that refuse a handshake before there are keys.
//!
//! rustls sends its own. Where it sends none, or one with another meaning, [`Alert::of`] supplies the right
//! one. Once there are keys, rustls's alert stands, since it has to be encrypted: a later record of an
//! unknown type or wrong length is answered with `decode_error`.

use rustls::{Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// Alert descriptions.
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
/// Header of a record with an alert.
const HEADER: [u8; 5] = [21, 3, 3, 0, 2];
/// The alert with which rustls refuses a client for which it has no certificate.
const ACCESS_DENIED: u8 = 49;

impl Alert {
    /// A record with this fatal alert.
    pub(super) fn fatal(self) -> [u8; 7] {
        let [a, b, c, d, e] = HEADER;
        [a, b, c, d, e, FATAL, self as u8]
    }

    /// Two records that cancel a handshake in which nothing was wrong (RFC 8446 §6.1).
    pub(super) fn cancel() -> [u8; 14] {
        let [a, b, c, d, e] = HEADER;
        let (canceled, closed) = (Self::UserCanceled as u8, Self::CloseNotify as u8);
        [a, b, c, d, e, WARNING, canceled, a, b, c, d, e, WARNING, closed]
    }

    /// The alert for an error of rustls; `None` if none is to be sent.
    fn of(error: &Error) -> Option<Self> {
        Some(match error {
            // The sender of an alert need not be told.
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

    /// Replaces the alert that rustls has written about this error, from `start` on, by the right one.
    pub(super) fn correct(error: &Error, output: &mut alloc::vec::Vec<u8>, start: usize) {
        let own = output.get_mut(start..).unwrap_or_default();
        let better = match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::MessageTooLarge) => {
                Self::of(error)
            }
            _ => None,
        };
        match own {
            // No certificate means nothing in common, not a lack of permission.
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
