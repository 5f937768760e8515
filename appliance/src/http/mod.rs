//! HTTP semantics as values (RFC 9110): heads of requests and responses, their fields, and the decisions that
//! follow from them. The wire format of HTTP/1 is in [`h1`].
//!
//! Nothing here does I/O, reads a clock or allocates: functions take byte slices and write into a [`Sink`].

pub mod client;
pub mod conditional;
mod encode;
pub mod error;
pub mod fields;
pub mod forward;
pub mod h1;
mod hop;
pub mod limits;
pub mod method;
mod number;
pub mod range;
mod reply;
pub mod request;
pub mod response;
mod sink;
mod syntax;
pub(crate) mod target;
pub mod upgrade;
pub mod writer;

pub use encode::{DataFraming, Encode, Reset};
pub use fields::{Field, Fields};
pub use limits::RequestLimits;
pub use method::Method;
pub use reply::{Content, OwnField, Reply};
pub use request::{Framing, RequestHead};
pub use sink::{Decimal, Overflow, Sink};
pub use writer::ResponseWriter;

use model::reason::Reason;

/// Supported protocol versions (RFC 9112 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// Why a request is refused: the status to answer with, and the reason to log. The connection is closed
/// afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status code of the error response.
    pub status: u16,
    /// HTTPERR reason phrase.
    pub reason: Reason,
}

impl Refusal {
    /// A refusal.
    pub const fn new(status: u16, reason: Reason) -> Self {
        Self { status, reason }
    }
}
