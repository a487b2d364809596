//! Line plots as inline SVG. Colours come from the page's style, so that a dark page gets dark plots.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// Lines that have a colour and dashes of their own in the page's style.
const COLOURS: usize = 8;
/// Shapes of points, so that lines can be told apart without colours.
const SHAPES: usize = 4;

/// How an axis maps figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By orders of magnitude.
    Log,
    /// Quantiles by their distance from 1, so that each further nine takes the same room.
    Nines,
}

/// An axis with its name.
#[derive(Debug, Clone, Copy)]
pub struct Axis<'a> {
    /// Name, and unit behind a comma.
    pub name: &'a str,
    /// See [`Scale`].
    pub scale: Scale,
}

/// One line of a plot.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it shows.
    pub name: String,
    /// Pairs of x and y.
    pub points: Vec<(f64, f64)>,
    /// The point to look at.
    pub marked: Option<(f64, f64)>,
}

struct Mapped {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Mapped {
    fn new(scale: Scale, figures: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for figure in figures {
            let figure = raw(scale, figure);
            if figure.is_finite() {
                (low, high) = (low.min(figure), high.max(figure));
            }
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match scale {
            Scale::Linear => (low, high) = (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
            Scale::Log => (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0)),
            Scale::Nines => (low, high) = (0.0, high.max(1.0)),
        }
        Self { scale, low, high }
    }

    /// From 0 to 1.
    fn place(&self, figure: f64) -> f64 {
        ((raw(self.scale, figure) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Places and texts of the marks.
    fn marks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let rough = self.high / 5.0;
                let magnitude = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * magnitude);
                let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
                (0..=6)
                    .map(|index| f64::from(index) * step)
                    .filter(|at| *at <= self.high)
                    .map(|at| self.mark(at))
                    .collect()
            }
            Scale::Log => whole(self.low, self.high).map(|power| self.mark(10_f64.powi(power))).collect(),
            Scale::Nines => {
                let far = whole(1.0, self.high).map(|nines| 1.0 - 10_f64.powi(-nines));
                [0.0, 0.5]
                    .into_iter()
                    .chain(far)
                    .map(|quantile| {
                        let percent = format!("{:.4}", quantile * 100.0);
                        (self.place(quantile), format!("{}%", percent.trim_end_matches('0').trim_end_matches('.')))
                    })
                    .collect()
            }
        }
    }

    fn mark(&self, figure: f64) -> (f64, String) {
        (self.place(figure), short(figure))
    }
}

fn raw(scale: Scale, figure: f64) -> f64 {
    match scale {
        Scale::Linear => figure,
        Scale::Log => figure.log10(),
        Scale::Nines => -(1.0 - figure).log10(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "orders of magnitude are small numbers")]
fn whole(from: f64, to: f64) -> std::ops::RangeInclusive<i32> {
    from as i32..=to as i32
}

fn short(figure: f64) -> String {
    let (figure, unit) = match figure.abs() {
        1e6.. => (figure / 1e6, "M"),
        1e4.. => (figure / 1e3, "k"),
        _ => (figure, ""),
    };
    let text = format!("{figure:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Text that may stand in HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A plot with a legend if it has several lines.
pub fn plot(x: Axis<'_>, y: Axis<'_>, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let across = Mapped::new(x.scale, points().map(|point| point.0));
    let up = Mapped::new(y.scale, points().map(|point| point.1));
    let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let (bottom, right) = (TOP + inner_height, WIDTH - RIGHT);
    let mut svg = format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} by {}\">\n",
        escape(y.name),
        escape(x.name)
    );
    // Writing into a String cannot fail.
    let mut add = |text: String| writeln!(svg, "{text}").expect("a String takes all");
    for (place, text) in across.marks() {
        let at = LEFT + place * inner_width;
        add(format!("<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"));
        add(format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", bottom + 16.0));
    }
    for (place, text) in up.marks() {
        let at = bottom - place * inner_height;
        add(format!("<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"));
        add(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, at + 4.0));
    }
    add(format!("<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>", HEIGHT - 8.0, escape(x.name)));
    add(format!("<text x=\"4\" y=\"{}\">{}</text>", HEIGHT - 8.0, escape(y.name)));
    for (index, line) in lines.iter().enumerate() {
        let place = |(x, y): &(f64, f64)| (LEFT + across.place(*x) * inner_width, bottom - up.place(*y) * inner_height);
        let path: Vec<_> = line.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let colour = index % COLOURS;
        add(format!("<polyline class=\"line c{colour}\" points=\"{}\"/>", path.join(" ")));
        for point in &line.points {
            let ((cx, cy), name) = (place(point), escape(&line.name));
            let title = format!("{name}: {} at {}", with_unit(y, point.1), with_unit(x, point.0));
            let shape = shape(index, cx, cy);
            add(format!("<path class=\"dot c{colour}\" d=\"{shape}\"><title>{title}</title></path>"));
        }
        if let Some((cx, cy)) = line.marked.as_ref().map(place) {
            add(format!("<circle class=\"chosen\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"9\"/>"));
            add(format!(
                "<text class=\"figure\" x=\"{cx:.1}\" y=\"{:.1}\" text-anchor=\"middle\">chosen</text>",
                cy + 24.0
            ));
        }
    }
    svg += "</svg>\n";
    if lines.len() > 1 {
        svg += &legend(lines);
    }
    svg + "</figure>\n"
}

/// A figure as a reader meets it beside a point. The unit is what stands behind the comma in the axis's name, or
/// the name itself.
fn with_unit(axis: Axis<'_>, figure: f64) -> String {
    if axis.scale == Scale::Nines {
        return format!("{:.4}%", figure * 100.0);
    }
    let unit = axis.name.split_once(", ").map_or(axis.name, |(_, unit)| unit);
    format!("{} {}", short(figure), escape(unit))
}

/// A circle, a square, a diamond or a triangle around a place.
fn shape(index: usize, x: f64, y: f64) -> String {
    let (left, right, top, bottom) = (x - 3.0, x + 3.0, y - 3.0, y + 3.0);
    match index % SHAPES {
        0 => format!("M{left:.1} {y:.1}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z"),
        1 => format!("M{left:.1} {top:.1}H{right:.1}V{bottom:.1}H{left:.1}z"),
        2 => format!("M{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}z", x - 4.0, y - 4.0, x + 4.0, y + 4.0),
        _ => format!("M{left:.1} {bottom:.1}H{right:.1}L{x:.1} {top:.1}z"),
    }
}

fn legend(lines: &[Line]) -> String {
    let item = |(index, line): (usize, &Line)| {
        let (colour, shape) = (index % COLOURS, shape(index, 17.0, 6.0));
        format!(
            "<span><svg class=\"key\" viewBox=\"0 0 34 12\"><path class=\"line c{colour}\" d=\"M0 6H34\"/>\
             <path class=\"dot c{colour}\" d=\"{shape}\"/></svg>{}</span>",
            escape(&line.name)
        )
    };
    format!("<p class=\"legend\">{}</p>\n", lines.iter().enumerate().map(item).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_of_anything_is_finite() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(0.5, 1.0), (0.99999, 1e9)]] {
            for scale in [Scale::Linear, Scale::Log, Scale::Nines] {
                let axis = Axis { name: "a<b", scale };
                let line = Line { name: "x & y".to_owned(), marked: points.first().copied(), points: points.clone() };
                let svg = plot(axis, Axis { name: "y", scale: Scale::Linear }, &[line.clone(), line]);
                assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
                assert!(svg.contains("a&lt;b"));
            }
        }
    }

    #[test]
    fn each_nine_takes_the_same_room() {
        let axis = Mapped::new(Scale::Nines, [0.0, 0.9999].into_iter());
        assert!((axis.place(0.9) - 0.25).abs() < 1e-9);
        assert!((axis.place(0.99) - 0.5).abs() < 1e-9);
    }
}
