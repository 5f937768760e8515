//! Chooses the configuration to boot with: one from the host takes precedence over the built-in one.
//!
//! Both are bundles ([`model::bundle`]). If the chosen one is damaged or of another version, the boot fails
//! rather than use the other one, because the operator who provided it expects it to be in force.

use core::fmt;
use model::bundle::{Bundle, BundleError};

/// `fw_cfg` name of a configuration.
pub const CONFIG_NAME: &str = "opt/weir/config";
/// `fw_cfg` name of key material, a bundle of its own.
pub const KEYS_NAME: &str = "opt/weir/keys";

/// Source of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleOrigin {
    /// Attached to the image.
    BuiltIn,
    /// Provided by the host under this name.
    FwCfg(&'static str),
}

impl fmt::Display for BundleOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::FwCfg(name) => write!(f, "fw_cfg {name}"),
        }
    }
}

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Configuration<'a> {
    /// Its source.
    pub origin: BundleOrigin,
    /// Length of its bundle in bytes.
    pub len: usize,
    /// Settings and files.
    pub bundle: Bundle<'a>,
}

impl fmt::Display for Configuration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", self.origin, self.len)
    }
}

/// Why there is no configuration to boot with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationError {
    /// There is none.
    Missing,
    /// The bundle is invalid.
    Refused(BundleOrigin, BundleError),
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                write!(f, "no configuration is built in, and none comes over fw_cfg {CONFIG_NAME}")
            }
            Self::Refused(origin, error) => write!(f, "configuration ({origin}): {error}"),
        }
    }
}

impl core::error::Error for ConfigurationError {}

/// Chooses between the host's bundle and the built-in one.
pub fn choose<'a>(
    fw_cfg: Option<&'a [u8]>,
    built_in: Option<&'a [u8]>,
) -> Result<Configuration<'a>, ConfigurationError> {
    let (origin, bytes) = match (fw_cfg, built_in) {
        (Some(bytes), _) => (BundleOrigin::FwCfg(CONFIG_NAME), bytes),
        (None, Some(bytes)) => (BundleOrigin::BuiltIn, bytes),
        (None, None) => return Err(ConfigurationError::Missing),
    };
    let bundle = Bundle::parse(bytes).map_err(|error| ConfigurationError::Refused(origin, error))?;
    Ok(Configuration { origin, len: bytes.len(), bundle })
}

/// Opens key material from the host: a bundle whose files are private keys in DER, by name.
pub fn keys(bytes: &[u8]) -> Result<Bundle<'_>, ConfigurationError> {
    let refused = |error| ConfigurationError::Refused(BundleOrigin::FwCfg(KEYS_NAME), error);
    Bundle::parse(bytes).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::bundle::{VERSION, encode};
    use model::settings::{Pool, Settings};
    use std::string::ToString;

    fn bundle(pool: &str) -> Vec<u8> {
        let pools = vec![Pool { name: pool.into(), ..Pool::default() }];
        encode(&Settings { pools, ..Settings::default() }, vec![])
    }

    #[test]
    fn the_host_wins() {
        let (host, built_in) = (bundle("host"), bundle("built in"));
        let pool = |c: Configuration<'_>| c.bundle.manifest.settings.pools[0].name.clone();
        assert_eq!(choose(Some(&host), Some(&built_in)).map(pool), Ok("host".into()));
        assert_eq!(choose(None, Some(&built_in)).map(pool), Ok("built in".into()));
        assert_eq!(choose(Some(&host), None).map(pool), Ok("host".into()));
        assert_eq!(choose(None, None).map(pool), Err(ConfigurationError::Missing));
    }

    #[test]
    fn an_invalid_bundle_from_the_host_fails_the_boot() {
        let (good, origin) = (bundle("a"), BundleOrigin::FwCfg(CONFIG_NAME));
        let refusal = |bytes: &[u8]| choose(Some(bytes), Some(&good)).map(drop);
        let refused = |error| Err(ConfigurationError::Refused(origin, error));
        assert_eq!(refusal(&good[..good.len() - 1]), refused(BundleError::Truncated));
        assert_eq!(refusal(&[]), refused(BundleError::Truncated));
        let mut newer = good.clone();
        newer[8] = VERSION as u8 + 1;
        assert_eq!(refusal(&newer), refused(BundleError::Version(VERSION + 1)));
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refusal(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn errors_fit_on_one_line() {
        let error = ConfigurationError::Refused(BundleOrigin::FwCfg(CONFIG_NAME), BundleError::Version(9));
        let expected = format!(
            "configuration (fw_cfg opt/weir/config): bundle has format version 9, this build reads {VERSION}"
        );
        assert_eq!(error.to_string(), expected);
        assert!(keys(&bundle("a")).is_ok_and(|keys| keys.manifest.files.is_empty()));
        assert!(keys(b"").is_err());
    }
}
