//! The full-screen terminal client.
//!
//! A pure core, tested without a terminal: a [`Model`](model::Model), [`update`](update::update) that takes inputs in and gives
//! effects out, [`view`](view::view) that draws. Terminal, clock and client are joined to it in `run`, and nowhere else.

#[cfg(test)]
mod example;
mod field;
mod form;
mod message;
mod model;
#[cfg(test)]
mod tests;
mod theme;
mod update;
mod view;
