//! Administrators' commands to pools, and when they are in effect.

use super::Instruction;
use super::client::Client;
use super::pool::Event;
use model::id::PoolId;
use model::pool::PoolState;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// An administrator's command to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolOrder {
    /// Replace its workers.
    Recycle,
    /// Take it out of service.
    Stop,
    /// Put it into service.
    Start,
}

impl From<PoolOrder> for Event {
    fn from(order: PoolOrder) -> Self {
        match order {
            PoolOrder::Recycle => Self::Recycle,
            PoolOrder::Stop => Self::Stop,
            PoolOrder::Start => Self::Start,
        }
    }
}

/// State of a command when it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The appliance has confirmed it: every later request is subject to it.
    InForce,
    /// Accepted, but not in effect for every request yet; the text says why.
    NotYet(String),
}

/// Sends commands to a running supervisor.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) orders: mpsc::UnboundedSender<Instruction>,
    /// Connection to the appliance.
    pub client: Client,
    /// Names of the pools.
    pub pools: Vec<String>,
}

impl Handle {
    /// Sends a command to a pool and waits until the appliance has applied it. `None` if there is no such pool.
    pub async fn order(&self, pool: &str, order: PoolOrder) -> Option<Outcome> {
        let id = PoolId::at(self.pools.iter().position(|name| name == pool)?)?;
        let (done, is_done) = oneshot::channel();
        self.orders.send(Instruction::Order(id, order, done)).ok()?;
        is_done.await.ok()
    }

    /// Ends the supervisor once its workers have finished their requests. The pools stay in service.
    pub fn leave(&self) {
        // Fails only if it has already ended.
        let _ = self.orders.send(Instruction::Leave);
    }
}

/// Asks the appliance for the state of the pool, after everything the command caused has been sent. `running` is the number of
/// running workers.
pub(super) async fn confirm(client: &Client, pool: PoolId, order: PoolOrder, running: usize) -> Outcome {
    let state = match client.pool(pool).await {
        Ok(info) => info.state,
        Err(error) => {
            return Outcome::NotYet(format!("{error:#}; the appliance will be told once it can be reached"));
        }
    };
    let is_out = [PoolState::Disabling, PoolState::Disabled].map(|state| state as u8).contains(&state);
    match order {
        PoolOrder::Stop if !is_out => Outcome::NotYet("the pool is still in service at the appliance".into()),
        PoolOrder::Start if is_out => {
            Outcome::NotYet("the pool is still out of service at the appliance".into())
        }
        PoolOrder::Recycle if running > 0 => {
            Outcome::NotYet(format!("{running} workers are replaced once their successors respond"))
        }
        PoolOrder::Stop | PoolOrder::Start | PoolOrder::Recycle => Outcome::InForce,
    }
}
