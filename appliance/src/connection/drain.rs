//! Whether connections may still take requests.

use crate::time::Instant;

/// How far a graceful end of the whole appliance has come, as connections see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Not asked for.
    #[default]
    No,
    /// Begun: connections that have asked nothing yet are spared until then.
    Begun { silent_until: Instant, ends_at: Instant },
    /// They are not any more.
    Late { ends_at: Instant },
    /// Time is up.
    Over,
}

impl Drain {
    /// Connections are to end with what they have in hand.
    pub(crate) fn has_begun(self) -> bool {
        self != Self::No
    }

    /// A connection that waits for a request, after so many, is to be closed.
    pub(crate) fn closes_idle(self, served: u32) -> bool {
        match self {
            Self::No => false,
            Self::Begun { .. } => served > 0,
            Self::Late { .. } | Self::Over => true,
        }
    }

    pub(crate) fn next_deadline(self) -> Option<Instant> {
        match self {
            Self::No | Self::Over => None,
            Self::Begun { silent_until, ends_at } => Some(silent_until.min(ends_at)),
            Self::Late { ends_at } => Some(ends_at),
        }
    }
}
