//! Why a worker ends, or a pool goes out of service, and how people are told.

/// Why a worker ends, or a pool goes out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It did not answer within the start limit.
    StartLimit,
    /// It answered no ping within the ping limit.
    PingLimit,
    /// Recycled: too old.
    Age,
    /// Recycled: too many requests.
    Requests,
    /// Recycled: too much memory.
    Memory,
    /// It had nothing to do.
    Idle,
    /// An administrator's order.
    Order,
    /// Too many failures in a short time.
    RapidFail,
    /// It did not finish within the stop limit.
    StopLimit,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StartLimit => "did not answer within its start limit",
            Self::PingLimit => "answered no ping within its limit",
            Self::Age => "is too old",
            Self::Requests => "has answered its number of requests",
            Self::Memory => "takes too much memory",
            Self::Idle => "had nothing to do",
            Self::Order => "by order",
            Self::RapidFail => "too many failures in a short time",
            Self::StopLimit => "did not finish within its stop limit",
        })
    }
}
