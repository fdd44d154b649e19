//! An in-memory store that answers questions, for tests and the simulator.
