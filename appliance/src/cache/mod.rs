//! Stored responses. For now: the static files of the image.

mod files;

pub use files::{Lookup, StaticStore, StoredResponse};
