//! The full-screen terminal client.
//!
//! A pure core, tested without a terminal: a [`Model`](model::Model), [`update`](update::update) that takes inputs in and gives
//! effects out, [`view`](view::view) that draws. Terminal, clock and client are joined to it in `run`, and nowhere else.

mod effects;
#[cfg(test)]
mod example;
mod field;
mod form;
mod message;
mod model;
#[cfg(test)]
mod picture;
mod run;
mod terminal;
#[cfg(test)]
mod tests;
mod theme;
mod update;
mod view;

pub(crate) use effects::report;
pub(crate) use model::{availability_word, last_seen_words};
pub(crate) use run::{is_possible, run};
pub(crate) use theme::Theme;
