//! The deterministic simulator: the whole data plane with many clients and workers, in virtual time, over a network that loses,
//! duplicates and reorders packets. A failing test prints its seed, and `WEIR_SIM_SEED=N` runs only that one. `WEIR_SIM_SEEDS=N`
//! sets the number of seeds, and `WEIR_SIM_TRACE=1` prints every frame.

#![allow(missing_docs, unreachable_pub, reason = "a test program has no users")]

mod answers;
mod attacks;
mod bandwidth;
mod beside;
mod chaos;
mod client;
mod collector;
mod control;
mod drain;
mod front;
mod health;
mod lies;
mod links;
mod logs;
mod network;
mod nic;
mod pools;
mod requests;
mod rough;
mod rules;
mod scale;
mod scenarios;
mod script;
mod secure;
mod silence;
mod streams;
mod surplus;
mod timers;
mod tls;
mod worker_streams;
mod world;
