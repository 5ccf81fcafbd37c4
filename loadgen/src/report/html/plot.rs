//! Line plots as SVG. Lines have colours that the page's style replaces, so that one drawing serves
//! light and dark.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Size of the drawing; the page scales it.
const SIZE: (u32, u32) = (640, 300);
/// Stands for the grid in the page's style, …
const GRID: RGBColor = RGBColor(0xc0, 0xc0, 0xc0);
/// … and for the axes.
const AXIS: RGBColor = RGBColor(0x80, 0x80, 0x80);

/// One line.
pub(super) struct Line {
    /// What it shows.
    pub(super) name: &'static str,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// How an axis is divided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By factors, from 1 up.
    Log,
}

/// A plot.
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) x_title: &'static str,
    pub(super) y_title: &'static str,
    pub(super) y_scale: Scale,
    pub(super) x_labels: usize,
    pub(super) x_label: fn(&f64) -> String,
    pub(super) y_label: fn(&f64) -> String,
    pub(super) lines: Vec<Line>,
}

/// The colour that stands for a line in the page's style.
fn colour(index: usize) -> RGBColor {
    RGBColor(0, 0, 0xa1 + u8::try_from(index % 5).unwrap_or(0))
}

impl Plot {
    /// The plot as a figure of the page.
    pub(super) fn figure(&self) -> String {
        const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
        let key: String = self
            .lines
            .iter()
            .zip(NAMES.iter().cycle())
            .map(|(line, name)| {
                format!("<span><i style=\"background:var(--{name})\"></i>{}</span>", line.name)
            })
            .collect();
        let mut svg = String::new();
        let drawn = {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.draw(&area).and_then(|()| area.present())
        };
        // Drawing into a string has nothing that could fail but a plot without room.
        let svg = if drawn.is_ok() { responsive(&svg) } else { String::from("<p>not drawn</p>") };
        format!("<figure><h2>{}</h2><div class=\"key\">{key}</div>{svg}</figure>\n", self.title)
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let from = points().map(|point| point.0).fold(f64::INFINITY, f64::min).min(1e12);
        let to = points().map(|point| point.0).fold(0.0, f64::max).max(from + 1e-3);
        let top = points().map(|point| point.1).fold(0.0, f64::max).max(1.0) * 1.08;
        match self.y_scale {
            Scale::Linear => self.draw_on(area, from..to, 0.0..top),
            Scale::Log => {
                let low = points().map(|point| point.1).fold(top, f64::min).max(1.0);
                // Whole decades, so that a narrow range has ticks at its ends, too.
                let (low, top) = (10f64.powf(low.log10().floor()), 10f64.powf(top.log10().ceil()));
                self.draw_on(area, from..to, (low..top).log_scale())
            }
        }
    }

    fn draw_on<B, Y>(
        &self,
        area: &DrawingArea<B, Shift>,
        x: std::ops::Range<f64>,
        y: Y,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        B: DrawingBackend,
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(16)
            .x_label_area_size(46)
            .y_label_area_size(84)
            .build_cartesian_2d::<_, Y>(x, y)?;
        self.mesh(&mut chart)?;
        for (index, line) in self.lines.iter().enumerate() {
            let style = colour(index).stroke_width(2);
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        }
        Ok(())
    }

    fn mesh<B, Y>(
        &self,
        chart: &mut ChartContext<'_, B, Cartesian2d<RangedCoordf64, Y>>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        B: DrawingBackend,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .x_desc(self.x_title)
            .y_desc(self.y_title)
            .x_labels(self.x_labels)
            .y_labels(if self.y_scale == Scale::Log { 12 } else { 6 })
            .x_label_formatter(&self.x_label)
            .y_label_formatter(&self.y_label)
            .label_style(("sans-serif", 16))
            .axis_desc_style(("sans-serif", 16))
            .draw()
    }
}

/// Lets the page decide how large the drawing is.
fn responsive(svg: &str) -> String {
    let (width, height) = SIZE;
    svg.replacen(&format!("width=\"{width}\" height=\"{height}\" "), "role=\"img\" ", 1)
}
