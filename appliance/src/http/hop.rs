//! Fields that are not forwarded: hop-by-hop fields (RFC 9110 §7.6.1), those named by Connection, and those
//! written anew.

use super::Fields;

/// Limit on options in the Connection fields of one head: each costs comparisons of names.
pub(crate) const MAX_CONNECTION_OPTIONS: usize = 16;

/// Names listed in Connection.
pub(crate) struct Nominated<'a> {
    names: [&'a [u8]; MAX_CONNECTION_OPTIONS],
    len: usize,
}

impl<'a> Nominated<'a> {
    pub(crate) const NONE: Self = Self { names: [&[]; MAX_CONNECTION_OPTIONS], len: 0 };

    /// Reads all Connection fields. The parsers have refused heads with more options than fit here.
    pub(crate) fn read(fields: Fields<'a>) -> Self {
        let mut nominated = Self::NONE;
        for (slot, name) in nominated.names.iter_mut().zip(fields.elements("connection")) {
            *slot = name;
            nominated.len += 1;
        }
        nominated
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.names.iter().take(self.len).any(|n| n.eq_ignore_ascii_case(name))
    }
}

/// Whether a field is never forwarded, in either direction, because it belongs to one connection or is
/// written anew. Trailer is included because trailers are dropped.
pub(crate) fn is_hop_by_hop(name: &[u8]) -> bool {
    let is = |lower: &[u8]| name.eq_ignore_ascii_case(lower);
    match name.len() {
        2 => is(b"te"),
        7 => is(b"trailer") || is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        14 => is(b"content-length"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        _ => false,
    }
}

/// Request fields whose content we determine, and variants that some server takes for one of them: the
/// client's address, how the request was received, its host, the client certificate. `Proxy` would become the
/// environment variable HTTP_PROXY in a CGI worker; `HTTP2-Settings` belongs to a protocol that is never
/// passed on (`super::upgrade`), whether Connection names it or not.
const RESERVED: [&[u8]; 36] = [
    b"cf-connecting-ip",
    b"cf-connecting-ipv6",
    // RFC 9440.
    b"client-cert",
    b"client-cert-chain",
    b"client-ip",
    b"content-length",
    b"fastly-client-ip",
    b"forwarded",
    b"front-end-https",
    b"host",
    b"http2-settings",
    b"proxy",
    b"real-ip",
    b"transfer-encoding",
    b"true-client-ip",
    b"x-azure-clientip",
    b"x-client-cert",
    b"x-client-ip",
    b"x-client-port",
    b"x-cluster-client-ip",
    b"x-envoy-external-address",
    b"x-forwarded",
    b"x-original-for",
    b"x-original-forwarded-for",
    b"x-original-proto",
    b"x-original-remote-addr",
    b"x-originating-ip",
    b"x-proto",
    b"x-proxyuser-ip",
    b"x-real-ip",
    b"x-real-port",
    b"x-remote-addr",
    b"x-remote-ip",
    b"x-scheme",
    b"x-ssl",
    b"x-url-scheme",
];

/// Prefixes of further such names, including those of IIS and Azure (`X-ARR-SSL`, `X-ARR-ClientCert`).
const RESERVED_PREFIXES: [&[u8]; 5] =
    [b"ssl-client-", b"x-arr-", b"x-client-cert-", b"x-forwarded-", b"x-ssl-"];

/// Request fields that make some server use another target, host or method than the request line says,
/// bypassing our rules: dropped unless the prefix allows them. gunicorn uses SCRIPT_NAME and PATH_INFO,
/// Rack::Sendfile uses X-Accel-Mapping and X-Sendfile-Type.
const WITHHELD: [&[u8]; 26] = [
    b"path-info",
    b"request-uri",
    b"script-name",
    b"x-accel-mapping",
    b"x-host",
    b"x-host-override",
    b"x-http-destinationurl",
    b"x-http-host-override",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-host",
    b"x-original-method",
    b"x-original-path",
    b"x-original-uri",
    b"x-original-url",
    b"x-override-url",
    b"x-proxy-url",
    b"x-request-uri",
    b"x-rewrite-path",
    b"x-rewrite-uri",
    b"x-rewrite-url",
    b"x-rewritten-url",
    b"x-script-name",
    b"x-sendfile-type",
    b"x-url",
];

/// What happens to a request field, as far as its name decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Forwarded.
    Forwarded,
    /// Dropped: reserved to the appliance.
    Reserved,
    /// Dropped unless the prefix allows it.
    Withheld,
}

/// Decides by the name of a request field. A client must not be able to set a reserved field, not even for a
/// worker that turns names into variables and so takes `_`, or any non-alphanumeric character, for `-`.
#[inline]
pub(crate) fn disposition(name: &[u8]) -> Disposition {
    let first = usize::from(name.first().map_or(0, |&first| first & 31));
    let has_length = LENGTHS.get(first).is_some_and(|lengths| lengths >> name.len().min(31) & 1 != 0);
    let may_start = matches!(name, [b'x' | b'X' | b's' | b'S', ..]);
    if has_length || may_start { look_up(name, has_length) } else { Disposition::Forwarded }
}

#[inline(never)]
fn look_up(name: &[u8], has_length: bool) -> Disposition {
    let is = |lower: &&[u8]| same(name, lower);
    let begins = |start: &&[u8]| name.get(..start.len()).is_some_and(|front| same(front, start));
    if has_length && RESERVED.iter().any(is) || RESERVED_PREFIXES.iter().any(begins) {
        Disposition::Reserved
    } else if has_length && WITHHELD.iter().any(is) {
        Disposition::Withheld
    } else {
        Disposition::Forwarded
    }
}

/// By first letter, bit n: a name of n bytes is in [`RESERVED`] or [`WITHHELD`].
static LENGTHS: [u32; 32] = {
    let mut lengths = [0; 32];
    let mut i = 0;
    while i < RESERVED.len() + WITHHELD.len() {
        let name = if i < RESERVED.len() { RESERVED[i] } else { WITHHELD[i - RESERVED.len()] };
        assert!(name.len() < 31);
        lengths[(name[0] & 31) as usize] |= 1 << name.len();
        i += 1;
    }
    lengths
};

/// Compares names as a server does that turns them into variables: any non-alphanumeric character is a
/// hyphen.
pub(super) fn same(name: &[u8], lower: &[u8]) -> bool {
    let is = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*b == b'-' && !a.is_ascii_alphanumeric());
    name.len() == lower.len() && name.iter().zip(lower).all(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_classified_in_any_spelling() {
        let spelt = |name: &[u8], hyphen: u8| -> Vec<u8> {
            name.iter().map(|&b| if b == b'-' { hyphen } else { b.to_ascii_uppercase() }).collect()
        };
        for hyphen in [b'-', b'_', b'.', b'~'] {
            for name in RESERVED {
                assert_eq!(
                    disposition(&spelt(name, hyphen)),
                    Disposition::Reserved,
                    "{}",
                    name.escape_ascii()
                );
            }
            for start in RESERVED_PREFIXES {
                let name = [&spelt(start, hyphen)[..], b"anything-at-all-however-long-it-may-be"].concat();
                assert_eq!(disposition(&name), Disposition::Reserved, "{}", start.escape_ascii());
            }
            for name in WITHHELD {
                assert_eq!(
                    disposition(&spelt(name, hyphen)),
                    Disposition::Withheld,
                    "{}",
                    name.escape_ascii()
                );
            }
        }
        for name in [
            "",
            "x",
            "cookie",
            "x-forward",
            "x-csrf-token",
            "xx-real-ip",
            "x-real-ips",
            "host-",
            "set-cookie",
        ] {
            assert_eq!(disposition(name.as_bytes()), Disposition::Forwarded, "{name}");
        }
    }
}
