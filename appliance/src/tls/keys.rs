//! Private keys kept outside of the image.

use model::bundle::Bundle;

/// Private keys that the host provides separately from the configuration: a bundle whose files are keys in
/// DER.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a>(Option<&'a Bundle<'a>>);

impl<'a> Keys<'a> {
    /// No keys other than those in the settings.
    pub const NONE: Self = Self(None);

    /// The keys in a bundle.
    pub fn new(bundle: &'a Bundle<'a>) -> Self {
        Self(Some(bundle))
    }

    pub(super) fn find(self, name: &str) -> Option<&'a [u8]> {
        let bundle = self.0?;
        let file = bundle.manifest.files.iter().find(|file| file.path == name)?;
        bundle.content(file)
    }
}
