//! What is passed on to the handler of a prefix as the client wrote it.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a prefix passes on beyond the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passthrough {
    /// Protocols that a client may switch to (RFC 9110 §7.8), in lower case; by default only `websocket`.
    pub upgrade: Vec<String>,
    /// Names of fields, in lower case, that are passed on although they name another target than the request
    /// line (`http::forward::is_withheld` in the data plane).
    pub fields: Vec<String>,
    /// Whether paths are accepted as written, without checking whether other servers would read them
    /// differently.
    pub as_is: bool,
}

impl Default for Passthrough {
    fn default() -> Self {
        Self { upgrade: vec!["websocket".into()], fields: Vec::new(), as_is: false }
    }
}
