//! Whether connections may still accept requests during a graceful shutdown.

use crate::time::Instant;

/// Progress of a graceful shutdown, as connections see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Not requested.
    #[default]
    Off,
    /// Requested. Connections that have sent no request yet are spared until `silent_until`.
    Begun { silent_until: Instant, ends_at: Instant },
    /// Connections without a request are closed as well.
    Late { ends_at: Instant },
    /// The deadline has passed.
    Over,
}

impl Drain {
    /// Whether connections are to end after their current request.
    pub(crate) fn has_begun(self) -> bool {
        self != Self::Off
    }

    /// Whether to close a connection that waits for a request after `served` others.
    pub(crate) fn closes_idle(self, served: u32) -> bool {
        match self {
            Self::Off => false,
            Self::Begun { .. } => served > 0,
            Self::Late { .. } | Self::Over => true,
        }
    }

    pub(crate) fn next_deadline(self) -> Option<Instant> {
        match self {
            Self::Off | Self::Over => None,
            Self::Begun { silent_until, ends_at } => Some(silent_until.min(ends_at)),
            Self::Late { ends_at } => Some(ends_at),
        }
    }
}
