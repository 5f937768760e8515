//! What a machine has once, however many cores serve: the pools and the transport to their workers, the control
//! connection, and the way of log lines to the host.
//!
//! A shard knows the hub by the trait [`Hub`] only. Today there is one shard, and its hub is the [`Machine`] itself, called
//! directly; with several cores each of them gets a hub that passes messages to the one core that owns the devices.

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

/// What a shard asks of its machine.
///
/// In each turn the shard calls [`Hub::begin`], takes all questions and events, serves its connections, and calls
/// [`Hub::finish`].
pub trait Hub {
    /// The way to workers.
    type Upstream: Upstream;

    /// The way to workers, for exchanges.
    fn upstream(&mut self) -> &mut Self::Upstream;

    /// Takes in what the devices have and runs the timers that are due. `log`: this core's lines, some of which the host may
    /// have acknowledged.
    fn begin(&mut self, log: &mut Spool, now: Instant);

    /// The next thing that an exchange of this core has to be told.
    fn next_event(&mut self) -> Option<PoolEvent>;

    /// The next question of the control connection that only a shard can answer, and who asks. Those about pools are
    /// answered here.
    fn next_ask(&mut self, now: Instant) -> Option<(StreamId, Ask)>;

    /// Answers the question with this number.
    fn answer(&mut self, who: StreamId, id: u32, result: Result<Answer, Refusal>);

    /// Sends what waits for the host and for workers.
    fn finish(&mut self, log: &mut Spool, now: Instant);

    /// [`Hub::begin`] has to be called again at once.
    fn wants_turn(&self, now: Instant) -> bool;

    /// When, after `now`, [`Hub::begin`] has to be called even if the devices stay silent.
    fn next_deadline(&self, now: Instant) -> Option<Instant>;

    /// Asks the devices for interrupts. False if there is work already.
    fn arm(&mut self) -> bool;

    /// Log lines are sent without delay from now on: the machine is about to stop.
    fn hurry(&mut self, now: Instant);

    /// What the transport to workers has done wrong since the start.
    fn faults(&self) -> Faults;

    /// What it does and has done.
    fn report(&self) -> HubReport;
}

/// What a hub does and has done, for the answer to `Status`.
#[derive(Clone, Debug, Default)]
pub struct HubReport {
    /// Links to workers, in any state.
    pub links: usize,
    /// Those of them that a request uses.
    pub links_in_use: usize,
    /// Events since the start, by the names that `weir ctl status` and the metrics show.
    pub counters: Vec<(&'static str, u64)>,
}
