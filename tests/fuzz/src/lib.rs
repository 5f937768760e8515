//! Fuzz targets: functions of a byte string that panic if an invariant is violated.
//!
//! `tests/fuzz/run` runs them under libFuzzer. Without instrumentation (`cargo test`), every file of their corpora,
//! `tests/fuzz/corpus/NAME/`, is run once.

mod chunked;
mod config;
mod devices;
mod heads;
mod input;
mod prefix;
mod proxy;
mod vsock;

#[path = "../../../netdrv/tests/support/mod.rs"]
mod support;

pub use chunked::chunked;
pub use config::config;
pub use devices::virtio_rings;
pub use heads::{request_head, response_head};
pub use prefix::url_prefix;
pub use proxy::proxy_header;
pub use vsock::vsock_packets;

/// For the macro below.
#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// A function that panics if an invariant does not hold for these bytes.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 8] = [
    ("request_head", request_head),
    ("chunked", chunked),
    ("response_head", response_head),
    ("url_prefix", url_prefix),
    ("proxy_header", proxy_header),
    ("config", config),
    ("vsock_packets", vsock_packets),
    ("virtio_rings", virtio_rings),
];

/// The program of a target: libFuzzer's, or one that runs the given files.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$name(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                $crate::$name(&std::fs::read(path)?);
            }
            Ok(())
        }
    };
}
