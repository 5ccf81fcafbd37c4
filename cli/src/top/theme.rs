//! Colours: those of the terminal by name, so that light and dark ones work. What matters is said
//! in words, too.

use ratatui::style::{Color, Modifier, Style};

/// How things are coloured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    has_colours: bool,
}

impl Theme {
    /// Colours, unless NO_COLOR says otherwise.
    pub(super) fn of_environment() -> Self {
        Self { has_colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    #[cfg(test)]
    pub(super) const fn coloured() -> Self {
        Self { has_colours: true }
    }

    fn colour(self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// All is well.
    pub(super) fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// Somebody should look. Magenta, because yellow cannot be read on white.
    pub(super) fn doubtful(self) -> Style {
        self.colour(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// Something is wrong.
    pub(super) fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Names of columns.
    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Names of panels: as text is, because their frames' colour is faint on white.
    pub(super) fn name(self) -> Style {
        self.title().fg(Color::Reset)
    }

    /// Frames. Cyan, because many terminals' blue cannot be read on black.
    pub(super) fn frame(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// Keys in the last line.
    pub(super) fn key(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// How a router or a link stands.
    pub(super) fn state(self, state: &str) -> Style {
        match state {
            "ready" | "linked" => self.good(),
            "degraded" | "draining" | "linking" | "leaving" | "known" => self.doubtful(),
            _ => self.bad(),
        }
    }

    /// A part of a whole, 0 to 1.
    pub(super) fn share(self, share: f64) -> Style {
        match share {
            share if share >= 0.95 => self.bad(),
            share if share >= 0.8 => self.doubtful(),
            _ => Style::new(),
        }
    }
}
