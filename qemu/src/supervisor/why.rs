//! Reasons why a worker ends, or a pool goes out of service.

/// Why a worker ends, or a pool goes out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Not ready within the start limit.
    StartLimit,
    /// No response to pings within the ping limit.
    PingLimit,
    /// Recycled: too old.
    Age,
    /// Recycled: too many requests.
    Requests,
    /// Recycled: too much memory.
    Memory,
    /// Idle for too long.
    Idle,
    /// An administrator's command.
    Order,
    /// Too many failures in a short time.
    RapidFail,
    /// Not finished within the stop limit.
    StopLimit,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StartLimit => "was not ready within its start limit",
            Self::PingLimit => "answered no ping within its limit",
            Self::Age => "is too old",
            Self::Requests => "has served its maximum number of requests",
            Self::Memory => "uses too much memory",
            Self::Idle => "was idle",
            Self::Order => "by an administrator's command",
            Self::RapidFail => "too many failures in a short time",
            Self::StopLimit => "did not finish within its stop limit",
        })
    }
}
