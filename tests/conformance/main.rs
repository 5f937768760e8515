//! The corpus of requests against our parser, and what it accepts against two other implementations.

#![allow(missing_docs, unreachable_pub, reason = "a test program has no users")]

mod differential;
mod host;
mod hyper;
mod llhttp;
