//! String formats and their patterns in the JSON Schema. A pattern accepts everything that the parser (`units`, `value`)
//! accepts, and possibly more.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// Declares string formats: type, name in the reference, pattern.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident, $form:literal, $pattern:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "x-form": $form })
            }
        }
    )*};
}

forms! {
    /// Bytes or bits per second.
    Rate, "rate", r"^[0-9]{1,12}(\.[0-9]{1,6})? ?(([kMG]|[KMG]i)?B|[kMG]?bit)/s$";
    /// Bytes.
    Size, "size", r"^[0-9]{1,12}(\.[0-9]{1,6})? ?([kMG]|[KMG]i)?B$";
    /// Requests per second, minute or hour.
    Requests, "request rate", r"^(0|[1-9][0-9]*)\s*/\s*(s|min|h)$";
    /// Memory of a VM.
    Memory, "memory", r"^[1-9][0-9]*[MG]$";
    /// Name of a site or pool.
    Name, "name", r"^[A-Za-z0-9._-]{1,63}$";
    /// A URL prefix.
    UrlPrefix, "URL prefix", r"^https?://.+:[0-9]+/";
    /// Address a worker listens at.
    WorkerAddress, "address", r"^(vsock:[0-9]+:[0-9]+|tcp:.+:[0-9]+|unix:.+)$";
    /// `ADDRESS/PREFIX-LENGTH`.
    InterfaceAddress, "address", r"^[0-9.]+/[0-9]+$";
    /// An IPv4 address.
    Ipv4, "address", r"^[0-9.]+$";
    /// An IP address or network.
    Network, "network", r"^[0-9A-Fa-f.:]+(/[0-9]+)?$";
}

/// Status codes.
pub(crate) struct Expect;

impl JsonSchema for Expect {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Expect".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = json_schema!({ "type": "integer", "minimum": 100, "maximum": 999 });
        let text = json_schema!({ "type": "string", "pattern": r"^\s*\+?[0-9]+\s*(-\s*\+?[0-9]+\s*)?$" });
        let list = json_schema!({ "type": "array", "minItems": 1, "items": { "anyOf": [number, text] } });
        json_schema!({ "anyOf": [number, text, list], "x-form": "status codes" })
    }
}
