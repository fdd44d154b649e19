//! Starts real processes and reads what they print.
