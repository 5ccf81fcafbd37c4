//! Where everything goes: on a wide screen all panels, on a narrow one routers and the chosen
//! panel.
//!
//! ```text
//! ┌ millrace top … ──────────────────────────────────────┐
//! │ routers                                              │
//! ├ cores ──────────────────┬ hottest tags ──────────────┤   from 120 columns on
//! ├ links ──────────────────┼ slowest receivers ─────────┤
//! │                         ├ drops ─────────────────────┤
//! └ keys ────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeSet;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::model::View;
use super::panels::{self, Panel};
use super::theme::Theme;
use crate::figures::count;

/// From so many columns on, panels stand side by side.
const WIDE: u16 = 120;
/// On screens with more rows than this there is room for a hint.
const ROOMY: u16 = 12;
/// Rows of a panel that need not be shorter: a line, titles, and three rows.
const PANEL_MIN: u16 = 5;

/// What the keys have chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen {
    /// On a narrow screen, the panel that is shown.
    pub(super) panel: Panel,
    pub(super) is_paused: bool,
    /// Between two looks, in words.
    pub(super) every: std::time::Duration,
}

/// Draws the screen.
pub(super) fn screen(frame: &mut Frame<'_>, view: &View, chosen: Chosen, theme: Theme) {
    let area = frame.area();
    let is_wide = area.width >= WIDE;
    let routers = u16::try_from(view.routers.len()).unwrap_or(u16::MAX).saturating_add(2);
    let routers = routers.min((area.height / 2).max(PANEL_MIN));
    let troubles = troubles(view);
    let others = others(view);
    let told = u16::try_from(troubles.len()).unwrap_or(0).min(3);
    let named = u16::from(!others.is_empty() && area.height > ROOMY);
    let [head, top, said, more, middle, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(routers),
        Constraint::Length(told),
        Constraint::Length(named),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(header(view, chosen, theme), head);
    panels::routers(frame, top, view, theme);
    let lines: Vec<Line<'_>> = troubles
        .into_iter()
        .map(|text| Line::from(Span::styled(crate::tell::safe(&text).into_owned(), theme.bad())))
        .collect();
    frame.render_widget(ratatui::text::Text::from(lines), said);
    let others = crate::tell::safe(&others).into_owned();
    frame.render_widget(Line::from(others), more);
    if is_wide {
        side_by_side(frame, middle, view, theme);
    } else {
        narrow(frame, middle, view, chosen.panel, theme);
    }
    frame.render_widget(footer(is_wide, chosen, theme), foot);
}

fn header(view: &View, chosen: Chosen, theme: Theme) -> Line<'static> {
    let well = view.routers.iter().filter(|row| row.state == "ready").count();
    let all = view.routers.len();
    let drops = format!("drops {}/s", count(view.dropped.round()));
    let mut spans = vec![
        Span::styled("millrace top  ", theme.title()),
        Span::styled(
            format!("{well} of {all} routers ready  "),
            if well == all { theme.good() } else { theme.bad() },
        ),
        Span::raw(format!(
            "in {}/s  out {}/s  ",
            count(view.events_in.round()),
            count(view.events_out.round())
        )),
        Span::styled(drops, if view.dropped > 0.0 { theme.bad() } else { Style::new() }),
    ];
    if chosen.is_paused {
        spans.push(Span::styled("  paused", theme.doubtful()));
    }
    Line::from(spans)
}

/// What routers say is wrong, and why some are silent.
fn troubles(view: &View) -> Vec<String> {
    let said = |row: &super::model::RouterRow| {
        let text = row.why_silent.as_ref().or(row.trouble.as_ref())?;
        Some(format!("{}: {text}", row.name))
    };
    view.routers.iter().filter_map(said).collect()
}

/// Routers that others are linked with, and that nobody asks here.
fn others(view: &View) -> String {
    let is_shown = |name: &str| view.routers.iter().any(|row| row.name == name);
    let names: BTreeSet<&str> =
        view.links.iter().map(|link| link.to.as_str()).filter(|name| !is_shown(name)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    match names[..] {
        [] => String::new(),
        [one] => format!("{one} is not asked: name its admin page with --admin, too"),
        [one, two] => format!("{one} and {two} are not asked: name their admin pages with --admin, too"),
        [first, ..] => format!(
            "{first} and {} others are not asked: name their admin pages with --admin, too",
            names.len() - 1
        ),
    }
}

fn side_by_side(frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
    let [left, _, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    stack(frame, left, view, &[Panel::Cores, Panel::Links], theme);
    stack(frame, right, view, &[Panel::Tags, Panel::Receivers, Panel::Drops], theme);
}

/// Gives each panel what it needs, and shares out what is missing or left.
fn stack(frame: &mut Frame<'_>, area: Rect, view: &View, panels: &[Panel], theme: Theme) {
    let heights = panels.iter().map(|panel| {
        let rows = u16::try_from(panel.rows(view)).unwrap_or(u16::MAX).saturating_add(2);
        Constraint::Max(rows.max(PANEL_MIN))
    });
    let areas = Layout::vertical(heights).split(area);
    for (panel, &area) in panels.iter().zip(areas.iter()) {
        panel.draw(frame, area, view, theme);
    }
}

fn narrow(frame: &mut Frame<'_>, area: Rect, view: &View, panel: Panel, theme: Theme) {
    // A second panel fits below the chosen one where the screen is high.
    let rows = u16::try_from(panel.rows(view)).unwrap_or(u16::MAX).saturating_add(2).max(PANEL_MIN);
    if area.height >= rows.saturating_add(PANEL_MIN) {
        let [first, rest] = Layout::vertical([Constraint::Length(rows), Constraint::Fill(1)]).areas(area);
        panel.draw(frame, first, view, theme);
        narrow_rest(frame, rest, view, panel, theme);
    } else {
        panel.draw(frame, area, view, theme);
    }
}

/// Fills what is left with the panels behind the chosen one.
fn narrow_rest(frame: &mut Frame<'_>, area: Rect, view: &View, chosen: Panel, theme: Theme) {
    let (mut panel, mut area) = (chosen.next(), area);
    while panel != chosen && area.height >= PANEL_MIN {
        let rows = u16::try_from(panel.rows(view)).unwrap_or(u16::MAX).saturating_add(2).max(PANEL_MIN);
        let [here, rest] =
            Layout::vertical([Constraint::Length(rows.min(area.height)), Constraint::Fill(1)]).areas(area);
        panel.draw(frame, here, view, theme);
        (panel, area) = (panel.next(), rest);
    }
}

fn footer(is_wide: bool, chosen: Chosen, theme: Theme) -> Line<'static> {
    let mut keys = vec![("q", "quit"), ("p", if chosen.is_paused { "go on" } else { "pause" })];
    if !is_wide {
        keys.extend([("Tab", "next panel"), ("1-5", "panel")]);
    }
    keys.push(("+ -", "pace"));
    let mut spans = Vec::new();
    for (key, what) in keys {
        spans.push(Span::styled(format!(" {key} "), theme.key()));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    spans.push(Span::raw(format!("every {}", humantime::format_duration(chosen.every))));
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::model::tests::cluster;
    use super::*;

    fn drawn(width: u16, height: u16, panel: Panel) -> String {
        let (round, now) = cluster();
        let view = View::of(&round, now);
        let mut terminal =
            Terminal::new(TestBackend::new(width, height)).unwrap_or_else(|error| panic!("{error}"));
        let chosen = Chosen { panel, is_paused: false, every: Duration::from_secs(1) };
        let drawn = terminal.draw(|frame| screen(frame, &view, chosen, Theme::coloured()));
        assert!(drawn.is_ok(), "{width} x {height}");
        terminal.backend().to_string()
    }

    #[test]
    fn a_wide_screen_has_every_panel_and_the_keys() {
        let screen = drawn(140, 40, Panel::Cores);
        for part in [
            "1 of 3 routers ready",
            "router-a",
            "gone 5s",
            "unknown",
            "cores",
            "links",
            "hottest tags",
            "host=web-1",
            "slowest receivers",
            "192.0.2.7:40000",
            "receiver_overflow",
            "connection refused",
            "other is not asked: name its admin page with --admin, too",
            " q ",
            "every 1s",
        ] {
            assert!(screen.contains(part), "no `{part}` in\n{screen}");
        }
    }

    #[test]
    fn a_narrow_screen_has_the_chosen_panel_and_what_fits_below() {
        let screen = drawn(80, 16, Panel::Receivers);
        for part in ["router-a", "ready", "slowest receivers", "192.0.2.7:40000", "3.00 MiB", "19 %", " Tab "]
        {
            assert!(screen.contains(part), "no `{part}` in\n{screen}");
        }
        assert!(!screen.contains("cores"), "{screen}");
        let higher = drawn(80, 40, Panel::Receivers);
        assert!(higher.contains("cores") && higher.contains("hottest tags"), "{higher}");
    }

    #[test]
    fn screens_of_any_size_can_be_drawn() {
        for (width, height) in [(1, 1), (20, 3), (80, 5), (119, 24), (120, 8), (400, 100)] {
            drawn(width, height, Panel::Drops);
        }
    }
}
