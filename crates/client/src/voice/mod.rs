//! Voice of one call: frames paced every 20 ms, sealed with SFrame, and the way back.

mod engine;
mod seal;

pub use engine::{CallStatistics, Speaker};
pub(crate) use engine::{Engine, EngineEvent, EngineHandle};
