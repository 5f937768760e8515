//! PROXY protocol headers: the verdict does not depend on how the bytes are split, and stays within bounds.

use appliance::proxy::{MAX_HEADER, Parsed, parse};

/// The first bytes of a connection.
pub fn proxy_header(data: &[u8]) {
    let whole = parse(data);
    match whole {
        Parsed::Partial => assert!(data.len() < MAX_HEADER),
        Parsed::Complete { len, .. } => assert!(len <= data.len().min(MAX_HEADER)),
        Parsed::Malformed => {}
    }
    for end in 0..data.len().min(MAX_HEADER) {
        match (parse(&data[..end]), whole) {
            (Parsed::Partial, Parsed::Complete { len, .. }) => assert!(end < len, "{end} of {len}"),
            (Parsed::Partial, _) => {}
            (Parsed::Complete { len, .. }, _) => assert_eq!((parse(&data[..end]), len <= end), (whole, true)),
            (Parsed::Malformed, _) => assert_eq!(whole, Parsed::Malformed, "{end}"),
        }
    }
}
