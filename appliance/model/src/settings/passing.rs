//! What of a prefix's requests reaches whoever serves them as the client wrote it.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a prefix lets through beyond what is always passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passing {
    /// Protocols that a client may change its connection to (RFC 9110 §7.8), in lower case; only `websocket` if not said.
    pub upgrade: Vec<String>,
    /// Names of fields, in lower case, that are passed on although they name another target than the request line does
    /// (`http::forward::is_withheld` in the data plane).
    pub fields: Vec<String>,
    /// Paths are taken as they are written: whether other servers would read them differently is not asked.
    pub as_is: bool,
}

impl Default for Passing {
    fn default() -> Self {
        Self { upgrade: vec!["websocket".into()], fields: Vec::new(), as_is: false }
    }
}
