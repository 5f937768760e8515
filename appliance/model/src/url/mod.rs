//! URL prefixes, as HTTP.sys writes them.

mod prefix;
mod scheme;

pub use prefix::{PrefixError, PrefixErrorKind, PrefixHost, UrlPrefix};
pub use scheme::Scheme;
