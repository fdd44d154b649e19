//! What strangers and liars can send, and that it costs nobody anything.
