//! The self-contained page: style, tables and plots in one file that needs no network.

use crate::{
    measure::outcome::Outcome,
    report::{
        plot::{Axis, Line, Scale, escape, plot},
        table,
    },
};

const STYLE: &str = "
:root { color-scheme: light dark; --fg: #1c2330; --soft: #5b6675; --grid: #d8dee6; --bg: #fff; }
@media (prefers-color-scheme: dark) { :root { --fg: #e3e8ef; --soft: #97a3b3; --grid: #333c49; --bg: #14181f; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); max-width: 76em;
  margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; }
pre { overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; }
svg { width: 100%; max-width: 60em; height: auto; } svg text { font-size: 11px; fill: var(--soft); }
.grid { stroke: var(--grid); } .line { fill: none; stroke-width: 1.8; }
.c0 { --c: #2a6fdb; } .c1 { --c: #d9622b; } .c2 { --c: #2e9e5b; } .c3 { --c: #a84bc4; }
.c4 { --c: #c9a21b; } .c5 { --c: #17a2a8; } .c6 { --c: #d63d6e; } .c7 { --c: #7d8794; }
.line { stroke: var(--c); } .dot { fill: var(--c); opacity: .55; }
.legend span { margin-right: 1.4em; } .legend i { display: inline-block; width: 1em; height: .3em; margin-right: .4em;
  vertical-align: middle; background: var(--c); }
";

/// A whole page.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{body}</html>\n",
        title = escape(title)
    )
}

/// A heading with what belongs under it.
pub fn section(heading: &str, body: &str) -> String {
    format!("<h2>{}</h2>\n{body}", escape(heading))
}

/// Text as it stands.
pub fn preformatted(text: &str) -> String {
    format!("<pre>{}</pre>\n", escape(text))
}

/// Latency by quantile, one line for each named outcome.
pub fn quantiles(outcomes: &[(String, &Outcome)]) -> String {
    let lines: Vec<_> = outcomes
        .iter()
        .map(|(name, outcome)| Line {
            name: name.clone(),
            points: outcome.quantiles.iter().map(|(quantile, us)| (*quantile, us / 1e3)).collect(),
        })
        .collect();
    plot(Axis { name: "quantile", scale: Scale::Nines }, Axis { name: "latency, ms", scale: Scale::Log }, &lines)
}

/// The page of one load.
pub fn outcome(outcome: &Outcome) -> String {
    let seconds = Axis { name: "seconds", scale: Scale::Linear };
    let over_time = |name: &str, figure: fn(&crate::measure::timeline::Sample) -> f64| {
        let points = outcome.timeline.iter().map(|sample| (sample.at_s, figure(sample))).collect();
        plot(seconds, Axis { name, scale: Scale::Linear }, &[Line { name: name.to_owned(), points }])
    };
    let body = [
        preformatted(&table::outcome(outcome)),
        section("Latency", &quantiles(&[("all".to_owned(), outcome)])),
        section("Rate", &over_time("operations/s", |sample| sample.rate)),
        section("p99 over time", &over_time("p99, ms", |sample| sample.p99_us / 1e3)),
    ];
    page(&format!("Load test of {}", outcome.target), &body.concat())
}
