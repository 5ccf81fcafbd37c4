//! The terminal: draws what is known, and takes keys.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::draw::{self, Chosen};
use super::gather::Round;
use super::model::View;
use super::panels::Panel;
use super::theme::Theme;

/// Between two looks at the keyboard.
const KEYS_EVERY: Duration = Duration::from_millis(50);
/// A screen is drawn anew after this time, so that ages move.
const DRAW_EVERY: Duration = Duration::from_millis(500);
/// The paces that + and - lead through.
const PACES: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    /// Look so often.
    Pace(Duration),
    Other,
}

/// Draws the rounds that arrive until somebody quits. `pace` is told how often to ask.
pub(super) fn show(
    rounds: &mpsc::Receiver<Round>,
    pace: &tokio::sync::watch::Sender<Duration>,
    every: Duration,
) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let shown = watch(&mut terminal, rounds, pace, every);
    ratatui::restore();
    shown
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    rounds: &mpsc::Receiver<Round>,
    pace: &tokio::sync::watch::Sender<Duration>,
    every: Duration,
) -> io::Result<()> {
    let theme = Theme::of_environment();
    let mut chosen = Chosen { panel: Panel::Cores, is_paused: false, every };
    let mut round = Round::default();
    let mut drawn: Option<Instant> = None;
    loop {
        let mut is_new = false;
        while let Ok(next) = rounds.try_recv() {
            if !chosen.is_paused {
                (round, is_new) = (next, true);
            }
        }
        if is_new || drawn.is_none_or(|at| at.elapsed() >= DRAW_EVERY) {
            let view = View::of(&round, Instant::now());
            terminal.draw(|frame| draw::screen(frame, &view, chosen, theme))?;
            drawn = Some(Instant::now());
        }
        if !event::poll(KEYS_EVERY)? {
            continue;
        }
        drawn = None;
        if let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            match wish(&mut chosen, key.code, key.modifiers) {
                Wish::Quit => return Ok(()),
                // Nobody asks when the program ends.
                Wish::Pace(every) => drop(pace.send(every)),
                Wish::Other => {}
            }
        }
    }
}

fn wish(chosen: &mut Chosen, key: KeyCode, modifiers: KeyModifiers) -> Wish {
    match key {
        KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return Wish::Quit,
        KeyCode::Char('p' | ' ') => chosen.is_paused = !chosen.is_paused,
        KeyCode::Tab | KeyCode::Right | KeyCode::Down => chosen.panel = chosen.panel.next(),
        KeyCode::Char(digit @ '1'..='5') => {
            let place = digit as usize - '1' as usize;
            chosen.panel = Panel::ALL[place];
        }
        KeyCode::Char('+' | '=') => {
            chosen.every = PACES.into_iter().rev().find(|&pace| pace < chosen.every).unwrap_or(chosen.every);
            return Wish::Pace(chosen.every);
        }
        KeyCode::Char('-') => {
            chosen.every = PACES.into_iter().find(|&pace| pace > chosen.every).unwrap_or(chosen.every);
            return Wish::Pace(chosen.every);
        }
        _ => {}
    }
    Wish::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_last_line_says() {
        let mut chosen = Chosen { panel: Panel::Cores, is_paused: false, every: Duration::from_secs(1) };
        let mut press = |key| (wish(&mut chosen, key, KeyModifiers::NONE), chosen.panel, chosen.is_paused);
        assert_eq!(press(KeyCode::Tab), (Wish::Other, Panel::Links, false));
        assert_eq!(press(KeyCode::Char('5')), (Wish::Other, Panel::Drops, false));
        assert_eq!(press(KeyCode::Tab), (Wish::Other, Panel::Cores, false));
        assert_eq!(press(KeyCode::Char('p')), (Wish::Other, Panel::Cores, true));
        assert_eq!(press(KeyCode::Char('+')).0, Wish::Pace(Duration::from_millis(500)));
        assert_eq!(press(KeyCode::Char('-')).0, Wish::Pace(Duration::from_secs(1)));
        assert_eq!(press(KeyCode::Char('q')).0, Wish::Quit);
    }
}
