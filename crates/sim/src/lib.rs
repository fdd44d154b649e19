//! Seeded worlds: real exchanges and real members, on a virtual clock, over links that lose, delay, reorder and die.
//!
//! [`World::run`] plays one seed: people call and write to each other, quarrel and make up, a stranger attacks, links break, clients and the supernode
//! crash; then the weather clears, and everything must have come right. Checkers watch all the while; the first broken
//! rule ends the world. What a seed does, it does again, but for the bytes of ciphertexts.

mod agenda;
mod calls;
mod checkers;
mod device;
mod history;
mod network;
mod plan;
mod stranger;
mod supernode;
mod world;
mod writing;

pub use checkers::{Broken, Checker};
pub use plan::{Fault, Plan};
pub use world::{Summary, World};
