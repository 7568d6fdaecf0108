//! Draws lines as SVG, on a background of its own, with names beside them.

use anyhow::{Result, anyhow, ensure};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 480;
/// The width of the names.
const NAMES: i32 = 330;
const LINE: i32 = 24;
const FONT: &str = "sans-serif";
const TEXT: RGBColor = RGBColor(40, 40, 40);

/// Colours that people who are colour-blind can tell apart, on white (Okabe and Ito,
/// "Color Universal Design", 2008), without yellow.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 0, 0),
    RGBColor(130, 130, 130),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

/// The colour of the line with this number.
pub fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// A line and its name.
pub struct Line {
    pub name: String,
    pub colour: RGBColor,
    pub dashed: bool,
    pub points: Vec<(f64, f64)>,
}

/// What the axes show.
pub enum Scale {
    /// Both grow by factors.
    Logarithmic,
    /// From left to right, one step for each of these. Upwards from zero.
    Steps(Vec<u32>),
}

/// A picture.
pub struct Picture {
    pub title: String,
    /// What is from left to right.
    pub x: String,
    pub scale: Scale,
    pub lines: Vec<Line>,
}

impl Picture {
    /// As SVG.
    ///
    /// # Errors
    /// When there is nothing to draw.
    pub fn svg(&self) -> Result<String> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        ensure!(points().count() > 0, "no figures for `{}`", self.title);
        let highest = points().map(|(_, y)| y).fold(0.0, f64::max);
        let lowest = points().map(|(_, y)| y).fold(f64::INFINITY, f64::min);
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
            root.fill(&WHITE).map_err(failed)?;
            let (chart, names) = root.split_horizontally(WIDTH as i32 - NAMES);
            match &self.scale {
                Scale::Logarithmic => {
                    ensure!(lowest > 0.0, "zero has no place on a logarithmic scale");
                    let rightmost = points().map(|(x, _)| x).fold(0.0, f64::max);
                    let leftmost = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
                    let x = (leftmost / 1.1..rightmost * 1.1).log_scale();
                    let y = (power_below(lowest)..power_above(highest)).log_scale();
                    self.chart(&chart, x, y, &rounded)?;
                }
                Scale::Steps(steps) => {
                    let x = -0.2..steps.len() as f64 - 0.8;
                    let label = |x: f64| {
                        let step = steps.get(x.round().max(0.0) as usize);
                        step.map(u32::to_string).unwrap_or_default()
                    };
                    self.chart(&chart, x, 0.0..highest * 1.05, &label)?;
                }
            }
            self.names(&names)?;
            root.present().map_err(failed)?;
        }
        Ok(svg)
    }

    fn chart<X, Y>(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        x: X,
        y: Y,
        label: &dyn Fn(f64) -> String,
    ) -> Result<()>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 20).into_font().color(&TEXT))
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(x, y)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_labels(5)
            .x_label_formatter(&|x| label(*x))
            .y_label_formatter(&|y| rounded(*y))
            .x_desc(&self.x)
            .label_style((FONT, 14).into_font().color(&TEXT))
            .axis_style(TEXT)
            .bold_line_style(BLACK.mix(0.15))
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(failed)?;
        for Line { colour, dashed, points, .. } in &self.lines {
            let points = points.iter().copied();
            if *dashed {
                let style = colour.stroke_width(2);
                chart.draw_series(DashedLineSeries::new(points, 6, 5, style)).map_err(failed)?;
            } else {
                let style = colour.stroke_width(2);
                chart.draw_series(LineSeries::new(points.clone(), style)).map_err(failed)?;
                let dots = points.map(|point| Circle::new(point, 4, colour.filled()));
                chart.draw_series(dots).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn names(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
        for (index, Line { name, colour, dashed, .. }) in self.lines.iter().enumerate() {
            let middle = 56 + LINE * index as i32;
            // A dashed line is two dashes here.
            let parts: &[(i32, i32)] = if *dashed { &[(0, 8), (14, 22)] } else { &[(0, 22)] };
            for (from, to) in parts {
                let ends = [(*from, middle), (*to, middle)];
                area.draw(&PathElement::new(ends, colour.stroke_width(3))).map_err(failed)?;
            }
            let style = (FONT, 14).into_font().color(&TEXT);
            area.draw(&Text::new(name.as_str(), (30, middle - 7), style)).map_err(failed)?;
        }
        Ok(())
    }
}

/// Powers of ten by multiplication are not exact.
fn rounded(value: f64) -> String {
    ((value * 1e6).round() / 1e6).to_string()
}

fn power_below(value: f64) -> f64 {
    10f64.powf(value.log10().floor())
}

fn power_above(value: f64) -> f64 {
    10f64.powf(value.log10().ceil())
}

/// Its errors name the lifetime of what they draw on.
fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("draw: {error}")
}
