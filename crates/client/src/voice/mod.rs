//! Voice of calls: frames paced every 20 ms, sealed with SFrame, and the way back.

mod engine;
mod seal;
mod sorter;

pub use engine::{CallStatistics, Speaker};
pub(crate) use engine::{Engine, EngineEvent, EngineHandle, Statements, Wiring};
pub(crate) use sorter::Sorter;
