//! Stored responses: so far, the static files of the image.

mod files;
pub mod serve;

pub use files::{Lookup, StaticStore, StoredResponse};
