//! One look: an object for programs, the screen's text for people.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw::{self, Chosen};
use super::model::View;
use super::panels::Panel;
use super::theme::Theme;
use crate::show;

/// Rows that text may have: all panels of the largest cluster that a person reads.
const ROWS_MAX: usize = 200;

/// Prints the view as one object.
pub(super) fn object(view: &View) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    taken(show::json_line(&mut out, view).and_then(|()| out.flush()))
}

/// Whoever reads may have seen enough.
fn taken(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(()),
    }
}

/// Prints what a screen of this width would show, high enough for everything.
pub(super) fn text(view: &View, width: u16, every: Duration) -> anyhow::Result<()> {
    let panels: usize = Panel::ALL.iter().map(|panel| panel.rows(view).max(3) + 2).sum();
    let rows = (view.routers.len() * 2 + panels + 8).min(ROWS_MAX);
    let mut terminal = Terminal::new(TestBackend::new(width, u16::try_from(rows)?))?;
    let chosen = Chosen { panel: Panel::Cores, is_paused: false, every };
    terminal.draw(|frame| draw::screen(frame, view, chosen, Theme::of_environment()))?;
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width));
    let mut lines: Vec<String> = lines
        .map(|cells| cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
        .collect();
    // The last line has keys, which nobody can press here.
    lines.pop();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let mut out = io::stdout().lock();
    taken(writeln!(out, "{}", lines.join("\n")).and_then(|()| out.flush()))
}
