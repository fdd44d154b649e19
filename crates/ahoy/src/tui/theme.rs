//! Colours: few, from the terminal's own sixteen, and none where they are not wanted.

use std::env;

use ratatui::style::{Color, Modifier, Style};

/// What the terminal's background is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Theme {
    Dark,
    Light,
    // No colours, only bold, dim and reversed.
    Plain,
}

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Normal,
    Dim,
    Strong,
    Accent,
    Good,
    Warn,
    Bad,
    /// Chosen.
    Chosen,
    /// A bar across the screen: a call goes on.
    GoodBar,
    /// A bar across the screen: somebody calls.
    WarnBar,
    /// Something to be clicked on such a bar.
    BarButton,
}

impl Theme {
    /// What the surroundings say: `NO_COLOR`, and `COLORFGBG`, which ends in the colour of the background.
    pub(crate) fn of_surroundings() -> Self {
        if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return Self::Plain;
        }
        Self::of_background(env::var("COLORFGBG").ok().as_deref())
    }

    fn of_background(colours: Option<&str>) -> Self {
        let background = colours.and_then(|colours| colours.rsplit(';').next()?.parse::<u8>().ok());
        match background {
            Some(7 | 9..=15) => Self::Light,
            _ => Self::Dark,
        }
    }

    pub(crate) fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let coloured = |dark, light| match self {
            Self::Dark => plain.fg(dark),
            Self::Light => plain.fg(light),
            Self::Plain => plain,
        };
        let bar = |dark| match self {
            Self::Dark => plain.fg(Color::Black).bg(dark),
            Self::Light => plain.fg(Color::White).bg(dark),
            Self::Plain => plain.add_modifier(Modifier::REVERSED),
        };
        match tone {
            Tone::Normal => plain,
            Tone::Dim if self == Self::Plain => plain.add_modifier(Modifier::DIM),
            Tone::Dim => plain.fg(Color::DarkGray),
            Tone::Strong => bold,
            Tone::Accent => coloured(Color::Cyan, Color::Blue).add_modifier(Modifier::BOLD),
            Tone::Good => coloured(Color::Green, Color::Green),
            Tone::Warn => coloured(Color::Yellow, Color::Magenta).add_modifier(Modifier::BOLD),
            Tone::Bad => coloured(Color::LightRed, Color::Red).add_modifier(Modifier::BOLD),
            Tone::Chosen => match self {
                Self::Plain => plain.add_modifier(Modifier::REVERSED),
                _ => bar(if self == Self::Dark { Color::Cyan } else { Color::Blue }),
            },
            Tone::BarButton => match self {
                Self::Dark => plain.fg(Color::White).bg(Color::Black).add_modifier(Modifier::BOLD),
                Self::Light => plain.fg(Color::Black).bg(Color::White).add_modifier(Modifier::BOLD),
                Self::Plain => bold,
            },
            Tone::GoodBar => bar(Color::Green),
            Tone::WarnBar => bar(if self == Self::Dark { Color::Yellow } else { Color::Magenta }),
        }
    }

    /// Names of others differ a little, so that one sees who speaks; the same name always looks the same.
    pub(crate) fn name_style(self, seed: u8) -> Style {
        let colours: &[Color] = match self {
            Self::Dark => &[Color::Green, Color::Magenta, Color::Yellow, Color::LightBlue],
            Self::Light => &[Color::Green, Color::Magenta, Color::Red, Color::Cyan],
            Self::Plain => return Style::new().add_modifier(Modifier::BOLD),
        };
        Style::new().fg(colours[usize::from(seed) % colours.len()]).add_modifier(Modifier::BOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_background_decides() {
        assert_eq!(Theme::of_background(Some("0;15")), Theme::Light);
        assert_eq!(Theme::of_background(Some("0;default;15")), Theme::Light);
        assert_eq!(Theme::of_background(Some("15;0")), Theme::Dark);
        assert_eq!(Theme::of_background(Some("nonsense")), Theme::Dark);
        assert_eq!(Theme::of_background(None), Theme::Dark);
    }
}
