//! Horizontal bars as inline SVG: which is larger, at a glance.

use std::fmt::Write;

use crate::report::plot::escape;

const WIDTH: f64 = 720.0;
/// Where bars begin and where the longest ends.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 500.0;
const ROW: f64 = 26.0;

/// One bar.
#[derive(Debug, Clone, Default)]
pub struct Bar {
    /// What it stands for.
    pub name: String,
    /// Its length.
    pub figure: f64,
    /// The figure with its unit, as it is shown.
    pub text: String,
    /// Between which figures the truth is, if that is known.
    pub range: Option<(f64, f64)>,
    /// Whether it is the one to look at.
    pub is_marked: bool,
}

/// A chart; `what` says of what, with unit and the direction that is better.
pub fn bars(what: &str, bars: &[Bar]) -> String {
    let most = bars.iter().flat_map(|bar| [bar.figure, bar.range.map_or(0.0, |range| range.1)]).fold(0.0, f64::max);
    let end = |figure: f64| if most > 0.0 { LEFT + (RIGHT - LEFT) * figure.max(0.0) / most } else { LEFT };
    #[expect(clippy::cast_precision_loss, reason = "a few bars")]
    let height = ROW * bars.len() as f64;
    let mut svg = format!(
        "<figure><figcaption>{0}</figcaption>\n<svg class=\"bars\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{0}\">\n",
        escape(what)
    );
    let mut top = 0.0;
    for bar in bars {
        let (name, text, middle, mark) = (escape(&bar.name), escape(&bar.text), top + ROW / 2.0, end(bar.figure));
        let class = if bar.is_marked { "bar marked" } else { "bar" };
        let mut add = |part: String| writeln!(svg, "{part}").expect("a String takes all");
        add(format!("<g><title>{name}: {text}</title>"));
        add(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0, middle + 4.0));
        add(format!(
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            top + 4.0,
            mark - LEFT,
            ROW - 8.0
        ));
        let mut behind = mark;
        if let Some((low, high)) = bar.range {
            let (low, high) = (end(low), end(high));
            behind = behind.max(high);
            add(format!(
                "<path class=\"range\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {0:.1}v8M{high:.1} {0:.1}v8\"/>",
                middle - 4.0
            ));
        }
        add(format!("<text class=\"figure\" x=\"{:.1}\" y=\"{:.1}\">{text}</text></g>", behind + 8.0, middle + 4.0));
        top += ROW;
    }
    svg + "</svg></figure>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_ends_at_the_right_and_nothing_is_infinite() {
        let bar = |figure, range| Bar { name: "a<b".to_owned(), figure, range, ..Bar::default() };
        let svg = bars("rate", &[bar(50.0, None), bar(80.0, Some((70.0, 100.0)))]);
        assert!(svg.contains("width=\"155.0\"") && svg.contains("width=\"248.0\"") && svg.contains("H500.0"), "{svg}");
        assert!(svg.contains("a&lt;b"), "{svg}");
        for none in [bars("rate", &[]), bars("rate", &[bar(0.0, None)])] {
            assert!(!none.contains("NaN") && !none.contains("inf"), "{none}");
        }
    }
}
