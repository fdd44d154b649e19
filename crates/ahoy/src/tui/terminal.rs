//! The terminal: taken over, and given back however the program ends.

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::thread;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event,
};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use ratatui::{Frame, Terminal};
use tokio::sync::mpsc;

/// Exit code after a panic, as Rust has it.
const PANICKED: i32 = 101;

/// Keys that may wait; a person types ten a second.
const KEYS: usize = 256;

/// The screen as a whole, for as long as this value lives.
pub(super) struct Screen(Terminal<CrosstermBackend<io::Stdout>>);

impl Screen {
    /// Whether there is somebody to look at it.
    pub(super) fn is_there() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        let before = panic::take_hook();
        // Whatever thread panics: nobody could read what it says on a screen that is drawn over.
        panic::set_hook(Box::new(move |what| {
            give_back();
            before(what);
            std::process::exit(PANICKED);
        }));
        enable_raw_mode()?;
        let opened = execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste);
        match opened.and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout()))) {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws a picture; the terminal shows it as a whole.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        execute!(io::stdout(), BeginSynchronizedUpdate)?;
        let drawn = self.0.draw(draw).map(|_| ());
        execute!(io::stdout(), EndSynchronizedUpdate)?;
        drawn
    }

    /// Rings the bell.
    pub(super) fn ring(&self) {
        // A terminal that has gone hears nothing.
        let _ = io::stdout().write_all(b"\x07").and_then(|()| io::stdout().flush());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// As it was. What can't be done any more does not matter: the terminal has gone.
fn give_back() {
    let _ = execute!(io::stdout(), DisableBracketedPaste, DisableMouseCapture, LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
}

/// What comes from the terminal. A thread of its own waits for it, because reading can't be called off; it ends with the process.
pub(super) fn keyboard() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(KEYS);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}
