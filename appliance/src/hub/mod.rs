//! What exists once per machine, regardless of the number of cores: the pools and the transport to their
//! workers, the control connection, and the log connection to the host.
//!
//! A shard knows the hub only by the trait [`Hub`]. Today there is one shard, and its hub is the [`Machine`]
//! itself, called directly; with several cores, each shard would get a hub that passes messages to the core
//! that owns the devices.

mod machine;
mod orders;

pub use machine::Machine;

use crate::log::Spool;
use crate::time::Instant;
use crate::upstream::{PoolEvent, Upstream};
use alloc::vec::Vec;
use model::control::message::{Answer, Ask, Refusal};
use netdrv::stream::StreamId;
use netdrv::transport::Faults;

/// Services of the machine to a shard.
///
/// In each turn, the shard calls [`Hub::begin`], takes all control requests and events, serves its
/// connections, and calls [`Hub::finish`].
pub trait Hub {
    /// Access to workers.
    type Upstream: Upstream;

    /// Access to workers, for exchanges.
    fn upstream(&mut self) -> &mut Self::Upstream;

    /// Processes device events and due timers. `log`: this core's log lines, some of which the host may have
    /// acknowledged.
    fn begin(&mut self, log: &mut Spool, now: Instant);

    /// The next event for an exchange of this core.
    fn next_event(&mut self) -> Option<PoolEvent>;

    /// The next control request that only a shard can answer, and the stream it came over. The hub answers
    /// those about pools.
    fn next_ask(&mut self, now: Instant) -> Option<(StreamId, Ask)>;

    /// Answers the control request `id`.
    fn answer(&mut self, peer: StreamId, id: u32, result: Result<Answer, Refusal>);

    /// Sends pending data to the host and to workers.
    fn finish(&mut self, log: &mut Spool, now: Instant);

    /// Whether [`Hub::begin`] must be called again at once.
    fn wants_turn(&self, now: Instant) -> bool;

    /// When, after `now`, [`Hub::begin`] must be called even if the devices are silent.
    fn next_deadline(&self, now: Instant) -> Option<Instant>;

    /// Enables device interrupts. False if there is work already.
    fn arm(&mut self) -> bool;

    /// Sends log lines without delay from now on: the machine is about to stop.
    fn hurry(&mut self, now: Instant);

    /// Protocol violations by the transport device since the start.
    fn faults(&self) -> Faults;

    /// State and counters of the hub.
    fn report(&self) -> HubReport;
}

/// State and counters of a hub, for the answer to `Status`.
#[derive(Clone, Debug, Default)]
pub struct HubReport {
    /// Links to workers, in any state.
    pub links: usize,
    /// Links in use by a request.
    pub links_in_use: usize,
    /// Event counts since the start, by the names shown in `weir ctl status` and the metrics.
    pub counters: Vec<(&'static str, u64)>,
}
