//! Line charts as inline SVG.

use std::fmt::Write;

/// How an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By powers.
    Log,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Number of its colour; the same target has the same everywhere.
    pub colour: usize,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

/// A chart with its axes.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What's shown.
    pub title: String,
    /// Places on the x axis and what's written there.
    pub ticks: Vec<(f64, String)>,
    /// How x counts.
    pub x: Scale,
    /// How y counts.
    pub y: Scale,
    /// Written beside y values.
    pub unit: &'static str,
    /// Under the x axis.
    pub x_name: &'static str,
    /// The lines.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;

/// From values to places in the picture.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let map = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).ln(),
        };
        let (low, high) = (map(self.low), map(self.high));
        let share = if high > low {
            (map(value) - low) / (high - low)
        } else {
            0.5
        };
        self.from + (self.to - self.from) * share
    }
}

impl Chart {
    /// The picture, legend included. Empty when there's nothing to show.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        if points().next().is_none() {
            return String::new();
        }
        let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
        let top = most(&mut points().map(|(_, y)| *y));
        let (low, high, y_ticks) = match self.y {
            Scale::Linear => linear_ticks(top),
            Scale::Log => log_ticks(least(&mut points().map(|(_, y)| *y)), top),
        };
        let xs = || {
            points()
                .map(|(x, _)| *x)
                .chain(self.ticks.iter().map(|(x, _)| *x))
        };
        let x = Axis {
            scale: self.x,
            low: least(&mut xs()),
            high: most(&mut xs()),
            from: LEFT,
            to: WIDTH - RIGHT,
        };
        let y = Axis {
            scale: self.y,
            low,
            high,
            from: HEIGHT - BOTTOM,
            to: TOP,
        };
        let mut svg = format!(
            "<figure><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title),
            escape(&self.title)
        );
        for value in y_ticks {
            let at = y.place(value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                short(value, self.unit)
            );
        }
        for (value, label) in &self.ticks {
            let at = x.place(*value);
            let _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + 18.0,
                escape(label)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            self.x_name
        );
        for series in &self.series {
            let colour = series.colour % COLOURS;
            let path: Vec<String> = series
                .points
                .iter()
                .map(|(a, b)| format!("{:.1},{:.1}", x.place(*a), y.place(*b)))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline class=\"c{colour}\" points=\"{}\"/>",
                path.join(" ")
            );
            for ((a, b), value) in series.points.iter().map(|p| (*p, p.1)) {
                let _ = writeln!(
                    svg,
                    "<circle class=\"c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}: {}</title></circle>",
                    x.place(a),
                    y.place(b),
                    escape(&series.name),
                    short(value, self.unit)
                );
            }
        }
        svg += "</svg>\n<p class=\"legend\">";
        for series in &self.series {
            let _ = write!(
                svg,
                "<span><i class=\"c{}\"></i>{}</span> ",
                series.colour % COLOURS,
                escape(&series.name)
            );
        }
        svg += "</p></figure>\n";
        svg
    }
}

/// Colours that the page's style sheet has.
pub const COLOURS: usize = 8;

fn linear_ticks(top: f64) -> (f64, f64, Vec<f64>) {
    let rough = (top / 4.0).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    let step = steps
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let count = (top / step).ceil().max(1.0);
    let ticks = (0..=count as u32).map(|tick| f64::from(tick) * step);
    (0.0, count * step, ticks.collect())
}

fn log_ticks(least: f64, top: f64) -> (f64, f64, Vec<f64>) {
    let low = 10f64.powf(least.max(1e-9).log10().floor());
    let high = 10f64
        .powf(top.max(least).max(1e-9).log10().ceil())
        .max(low * 10.0);
    let mut ticks = Vec::new();
    let mut tick = low;
    while tick <= high * 1.001 {
        ticks.push(tick);
        tick *= 10.0;
    }
    (low, high, ticks)
}

/// A number for an axis.
fn short(value: f64, unit: &str) -> String {
    let number = match value.abs() {
        size if size >= 1e6 => format!("{}M", trim(value / 1e6)),
        size if size >= 1e3 => format!("{}k", trim(value / 1e3)),
        _ => trim(value),
    };
    format!("{number}{unit}")
}

fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text within HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(
            linear_ticks(9.0),
            (0.0, 10.0, vec![0.0, 2.5, 5.0, 7.5, 10.0])
        );
        assert_eq!(log_ticks(30.0, 4_000.0).2, [10.0, 100.0, 1_000.0, 10_000.0]);
        assert_eq!(
            (short(12_500.0, ""), short(0.5, " µs")),
            ("12.5k".into(), "0.5 µs".into())
        );
    }

    #[test]
    fn nothing_to_show_is_no_picture() {
        let chart = Chart {
            title: "a < b".to_owned(),
            ticks: Vec::new(),
            x: Scale::Linear,
            y: Scale::Linear,
            unit: "",
            x_name: "",
            series: Vec::new(),
        };
        assert_eq!(chart.svg(), "");
        let series = vec![Series {
            name: "one".to_owned(),
            colour: 0,
            points: vec![(1.0, 2.0)],
        }];
        let svg = Chart { series, ..chart }.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("<circle"), "{svg}");
    }
}
