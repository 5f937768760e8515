//! Bounds that several tables of a pool share.

/// Longest time, in seconds: 30 days.
pub(super) const MAX_SECONDS: u32 = 30 * 86_400;
/// Workers of one pool at most, as many as the appliance takes.
pub(super) const MAX_WORKERS: u32 = model::pool::MAX_WORKERS as u32;
