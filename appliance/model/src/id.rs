//! Indices of sites and pools in the settings.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[doc = $doc:literal])* $id:ident)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $id(pub u16);

        impl $id {
            /// The id for this index; `None` beyond the largest index.
            pub fn at(index: usize) -> Option<Self> {
                u16::try_from(index).ok().map(Self)
            }

            /// The index.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The first `count` ids.
            pub fn first(count: usize) -> impl Iterator<Item = Self> {
                (0..=u16::MAX).take(count).map(Self)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// A site, by its index in [`Settings::sites`](crate::settings::Settings::sites).
    SiteId
    /// A pool, by its index in [`Settings::pools`](crate::settings::Settings::pools).
    PoolId
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn indices_and_ids_convert_both_ways() {
        assert_eq!(PoolId::at(65_535).map(PoolId::index), Some(65_535));
        assert_eq!(PoolId::at(65_536), None, "and not the first one");
        assert_eq!(SiteId::first(3).collect::<Vec<_>>(), [SiteId(0), SiteId(1), SiteId(2)]);
        assert_eq!(SiteId::first(usize::MAX).count(), 65_536);
    }

    #[test]
    fn ids_are_serialised_as_numbers() {
        assert_eq!(postcard::to_allocvec(&PoolId(300)), postcard::to_allocvec(&300_u16));
    }
}
