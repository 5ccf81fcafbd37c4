//! The panels: each a table of one kind of row.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Cell, Row, Table};

use super::model::View;
use super::theme::Theme;
use crate::figures::{bytes, count, micros, share, whole};

/// What can be looked at besides routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    Cores,
    Links,
    Tags,
    Receivers,
    Drops,
}

/// A column: its title, its width, and whether it is of numbers.
type Column = (&'static str, Constraint, bool);

impl Panel {
    /// All, in the order of their keys.
    pub(super) const ALL: [Self; 5] = [Self::Cores, Self::Links, Self::Tags, Self::Receivers, Self::Drops];

    /// Its title.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Cores => "cores",
            Self::Links => "links",
            Self::Tags => "hottest tags",
            Self::Receivers => "slowest receivers",
            Self::Drops => "drops",
        }
    }

    /// The one behind it.
    pub(super) fn next(self) -> Self {
        let place = Self::ALL.iter().position(|&panel| panel == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }

    /// Rows that it has.
    pub(super) fn rows(self, view: &View) -> usize {
        match self {
            Self::Cores => view.cores.len(),
            Self::Links => view.links.len(),
            Self::Tags => view.tags.len(),
            Self::Receivers => view.receivers.len(),
            Self::Drops => view.drops.len(),
        }
    }

    /// Draws it.
    pub(super) fn draw(self, frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
        let (columns, rows) = match self {
            Self::Cores => cores(view, theme),
            Self::Links => links(view, theme),
            Self::Tags => tags(view),
            Self::Receivers => receivers(view, theme),
            Self::Drops => drops(view, theme),
        };
        let nothing = if rows.is_empty() { self.nothing() } else { "" };
        table(frame, area, &format!("{} {nothing}", self.title()), &columns, rows, theme);
    }

    const fn nothing(self) -> &'static str {
        match self {
            Self::Cores => "(no router answers)",
            Self::Links => "(no peers)",
            Self::Tags => "(none sampled yet)",
            Self::Receivers => "(nothing waits)",
            Self::Drops => "(none since their start)",
        }
    }
}

/// Draws the routers, which are always there.
pub(super) fn routers(frame: &mut Frame<'_>, area: Rect, view: &View, theme: Theme) {
    let columns: [Column; 9] = [
        ("router", Constraint::Fill(1), false),
        ("state", Constraint::Length(9), false),
        ("peers", Constraint::Length(5), true),
        ("clients", Constraint::Length(7), true),
        ("in/s", Constraint::Length(6), true),
        ("out/s", Constraint::Length(6), true),
        ("drops/s", Constraint::Length(7), true),
        ("queued", Constraint::Length(9), true),
        ("full", Constraint::Length(5), true),
    ];
    let rows = view.routers.iter().map(|row| {
        let state = match row.silent_s {
            Some(seconds) => format!("gone {seconds:.0}s"),
            None => row.state.clone(),
        };
        vec![
            (row.name.clone(), Style::new()),
            (state, theme.state(&row.state)),
            (
                format!("{}/{}", row.peers_linked, row.peers),
                if row.peers_linked < row.peers { theme.doubtful() } else { Style::new() },
            ),
            (whole(row.clients), Style::new()),
            (count(row.events_in.round()), Style::new()),
            (count(row.events_out.round()), Style::new()),
            (count(row.dropped.round()), if row.dropped > 0.0 { theme.bad() } else { Style::new() }),
            (bytes(row.queued_bytes), Style::new()),
            (
                share(row.queued_bytes, row.queue_budget_bytes),
                theme.share(row.queued_bytes as f64 / row.queue_budget_bytes.max(1) as f64),
            ),
        ]
    });
    table(frame, area, "routers", &columns, rows.collect(), theme);
}

type Cells = Vec<(String, Style)>;

fn cores(view: &View, theme: Theme) -> (Vec<Column>, Vec<Cells>) {
    let columns = vec![
        ("router", Constraint::Fill(1), false),
        ("core", Constraint::Length(4), true),
        ("busy", Constraint::Length(5), true),
        ("cpu", Constraint::Length(5), true),
        ("in/s", Constraint::Length(6), true),
        ("out/s", Constraint::Length(6), true),
        ("queued", Constraint::Length(9), true),
    ];
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let rows = view.cores.iter().map(|core| {
        vec![
            (core.router.clone(), Style::new()),
            (core.core.to_string(), Style::new()),
            (percent(core.busy), theme.share(core.busy)),
            (percent(core.cpu), Style::new()),
            (count(core.events_in.round()), Style::new()),
            (count(core.events_out.round()), Style::new()),
            (bytes(core.queued_bytes), Style::new()),
        ]
    });
    (columns, rows.collect())
}

fn links(view: &View, theme: Theme) -> (Vec<Column>, Vec<Cells>) {
    let columns = vec![
        ("from", Constraint::Fill(1), false),
        ("to", Constraint::Fill(1), false),
        ("state", Constraint::Length(8), false),
        ("lanes", Constraint::Length(5), true),
        ("selectors", Constraint::Length(9), true),
    ];
    let rows = view.links.iter().map(|link| {
        vec![
            (link.from.clone(), Style::new()),
            (link.to.clone(), Style::new()),
            (link.state.clone(), theme.state(&link.state)),
            (format!("{}/{}", link.lanes_up, link.lanes), Style::new()),
            (whole(link.selectors), Style::new()),
        ]
    });
    (columns, rows.collect())
}

fn tags(view: &View) -> (Vec<Column>, Vec<Cells>) {
    let columns = vec![
        ("tag", Constraint::Fill(1), false),
        ("share", Constraint::Length(5), true),
        ("events/s", Constraint::Length(8), true),
    ];
    let rows = view.tags.iter().map(|tag| {
        vec![
            (tag.tag.clone(), Style::new()),
            (format!("{:.0} %", tag.share * 100.0), Style::new()),
            (count(tag.rate.round()), Style::new()),
        ]
    });
    (columns, rows.collect())
}

fn receivers(view: &View, theme: Theme) -> (Vec<Column>, Vec<Cells>) {
    let columns = vec![
        ("client", Constraint::Fill(2), false),
        ("router", Constraint::Fill(1), false),
        ("queued", Constraint::Length(9), true),
        ("full", Constraint::Length(5), true),
        ("dropped", Constraint::Length(7), true),
        ("rtt", Constraint::Length(7), true),
    ];
    let rows = view.receivers.iter().map(|row| {
        let full = row.queued_bytes as f64 / row.queue_bytes_max.max(1) as f64;
        vec![
            (row.client.clone(), Style::new()),
            (row.router.clone(), Style::new()),
            (bytes(row.queued_bytes), Style::new()),
            (share(row.queued_bytes, row.queue_bytes_max), theme.share(full)),
            (whole(row.dropped), if row.dropped > 0 { theme.doubtful() } else { Style::new() }),
            (micros(row.rtt_us), Style::new()),
        ]
    });
    (columns, rows.collect())
}

fn drops(view: &View, theme: Theme) -> (Vec<Column>, Vec<Cells>) {
    let columns = vec![
        ("reason", Constraint::Fill(1), false),
        ("events/s", Constraint::Length(8), true),
        ("since start", Constraint::Length(11), true),
    ];
    let rows = view.drops.iter().map(|row| {
        vec![
            (row.reason.clone(), Style::new()),
            (count(row.rate.round()), if row.rate > 0.0 { theme.bad() } else { Style::new() }),
            (whole(row.total), Style::new()),
        ]
    });
    (columns, rows.collect())
}

fn table(frame: &mut Frame<'_>, area: Rect, title: &str, columns: &[Column], rows: Vec<Cells>, theme: Theme) {
    let cell = |text: String, style: Style, is_right: bool| {
        let line = Line::from(Span::styled(crate::tell::safe(&text).into_owned(), style));
        Cell::from(if is_right { line.right_aligned() } else { line })
    };
    let titles = columns.iter().map(|&(title, _, is_right)| cell(title.to_owned(), theme.title(), is_right));
    let left = rows.len().saturating_sub(usize::from(area.height.saturating_sub(2)));
    let more = if left > 0 { format!(" … {left} more ") } else { String::new() };
    let rows = rows.into_iter().map(|row| {
        let cells = row.into_iter().zip(columns);
        Row::new(
            cells.map(|((text, style), &(_, _, is_right))| cell(text, style, is_right)).collect::<Vec<_>>(),
        )
    });
    let block = Block::new()
        .borders(Borders::TOP)
        .border_type(BorderType::Plain)
        .border_style(theme.frame())
        .title(Line::from(Span::styled(format!("{} ", title.trim()), theme.name())))
        .title(Line::from(more).right_aligned());
    let widths = columns.iter().map(|&(_, width, _)| width);
    let table = Table::new(rows, widths).header(Row::new(titles)).column_spacing(1).block(block);
    frame.render_widget(table, area);
}
