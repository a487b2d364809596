//! The self-contained page: style, tables and plots in one file that needs no network.

use crate::{
    measure::outcome::Outcome,
    report::{
        about::About,
        bars::{Bar, bars},
        plot::{Axis, Line, Scale, escape, plot},
        table,
    },
};

const STYLE: &str = "
:root { color-scheme: light dark; --fg: #1c2330; --soft: #5b6675; --grid: #d8dee6; --bg: #fff; --mark: #2a6fdb; }
@media (prefers-color-scheme: dark) { :root { --fg: #e3e8ef; --soft: #97a3b3; --grid: #333c49; --bg: #14181f;
  --mark: #6ea2f5; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); margin: 2em auto;
  padding: 0 1.5em; max-width: 130em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; } p, ul { max-width: 50em; }
.answer { font-size: 1.2em; } .about { color: var(--soft); border-spacing: 0; } .about td { padding-right: 1em;
  vertical-align: top; overflow-wrap: anywhere; }
pre { overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; }
.wide { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 36em), 1fr)); gap: 0 2em; }
.wide > * { min-width: 0; } figure { margin: 1em 0; } figcaption { color: var(--soft); }
svg { width: 100%; height: auto; max-width: 60em; } svg text { font-size: 11px; fill: var(--soft); }
svg.bars text { font-size: 13px; } svg text.figure { fill: var(--fg); }
.grid { stroke: var(--grid); } .line { fill: none; stroke-width: 1.8; }
.bar { fill: var(--soft); opacity: .55; } .bar.marked { fill: var(--mark); opacity: 1; }
.range { stroke: var(--fg); stroke-width: 1.5; fill: none; } .chosen { fill: none; stroke: var(--fg); stroke-width: 2; }
.c0 { --c: #2a6fdb; } .c1 { --c: #d9622b; } .c2 { --c: #2e9e5b; } .c3 { --c: #a84bc4; }
.c4 { --c: #c9a21b; } .c5 { --c: #17a2a8; } .c6 { --c: #d63d6e; } .c7 { --c: #7d8794; }
.line { stroke: var(--c); } .dot { fill: var(--c); }
.line.c1 { stroke-dasharray: 7 3; } .line.c2 { stroke-dasharray: 2 3; } .line.c3 { stroke-dasharray: 9 3 2 3; }
.line.c4 { stroke-dasharray: 14 4; } .line.c5 { stroke-dasharray: 4 5; } .line.c6 { stroke-dasharray: 9 3 2 3 2 3; }
.line.c7 { stroke-dasharray: 1 5; }
.legend span { margin-right: 1.4em; white-space: nowrap; } .key { width: 34px; margin-right: .4em; vertical-align: middle; }
";

/// A whole page. `answer` is what its reader wants to know first, as sentences of HTML.
pub fn page(title: &str, answer: &str, about: &About, body: &str) -> String {
    let about = about.rows().map(|(name, text)| format!("<tr><td>{name}</td><td>{}</td></tr>\n", escape(text)));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n\
         <p class=\"answer\">{answer}</p>\n<table class=\"about\">\n{about}</table>\n{body}</html>\n",
        title = escape(title),
        about = about.concat(),
    )
}

/// Parts that stand beside each other where there is room.
pub fn wide(parts: &str) -> String {
    format!("<div class=\"wide\">\n{parts}</div>\n")
}

/// A heading with what belongs under it.
pub fn section(heading: &str, body: &str) -> String {
    format!("<section><h2>{}</h2>\n{body}</section>\n", escape(heading))
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
            marked: None,
        })
        .collect();
    plot(Axis { name: "quantile", scale: Scale::Nines }, Axis { name: "latency, ms", scale: Scale::Log }, &lines)
}

/// The page of one load.
pub fn outcome(outcome: &Outcome, about: &About) -> String {
    let seconds = Axis { name: "time, s", scale: Scale::Linear };
    let over_time = |name: &str, figure: fn(&crate::measure::timeline::Sample) -> f64| {
        let points = outcome.timeline.iter().map(|sample| (sample.at_s, figure(sample))).collect();
        let line = Line { name: name.to_owned(), points, marked: None };
        plot(seconds, Axis { name, scale: Scale::Linear }, &[line])
    };
    let plots = [
        section("Latency by quantile", &quantiles(&[("all".to_owned(), outcome)])),
        section("Rate over time", &over_time("rate, operations/s", |sample| sample.rate)),
        section("p99 over time", &over_time("p99, ms", |sample| sample.p99_us / 1e3)),
    ];
    let body = [overview(outcome), wide(&plots.concat()), preformatted(&table::outcome(outcome))];
    page(&format!("Load test of {}", outcome.target), &answer(outcome), about, &body.concat())
}

/// How much the target took, how long it took, and whether anything was wrong.
fn answer(outcome: &Outcome) -> String {
    let times = &outcome.latency;
    let reached = match outcome.rate_wanted {
        Some(wanted) => format!(
            "<b>{} of {} operations a second</b> that were asked for",
            table::rate(outcome.rate),
            table::rate(wanted)
        ),
        None => format!("<b>{} operations a second</b>", table::rate(outcome.rate)),
    };
    let counts = &outcome.counts;
    let faults = [
        (counts.wrong_total(), "wrong replies"),
        (counts.error_replies, "error replies"),
        (counts.connections_lost, "lost connections"),
        (counts.unsent, "operations that could not be sent in time"),
    ];
    let faults: Vec<_> = faults.iter().filter(|(count, _)| *count > 0).collect();
    let faults = if faults.is_empty() {
        "Nothing went wrong.".to_owned()
    } else {
        let each = faults.iter().map(|(count, what)| format!("{} {what}", table::count(*count)));
        format!("<b>There were {}.</b>", each.collect::<Vec<_>>().join(", "))
    };
    format!(
        "{} answered {reached}. Half of them took at most {} ms, 99 % at most {} ms. {faults}",
        escape(&outcome.target),
        table::ms(times.p50_us),
        table::ms(times.p99_us)
    )
}

fn overview(outcome: &Outcome) -> String {
    let rate = |name: &str, figure: f64, is_marked| Bar {
        name: name.to_owned(),
        figure,
        text: format!("{}/s", table::rate(figure)),
        range: None,
        is_marked,
    };
    let wanted = outcome.rate_wanted.map(|wanted| rate("asked for", wanted, false));
    let rates: Vec<_> = wanted.into_iter().chain([rate("answered", outcome.rate, true)]).collect();
    let times = &outcome.latency;
    let quantiles = [("p50", times.p50_us), ("p99", times.p99_us), ("p99.9", times.p99_9_us), ("max", times.max_us)];
    let quantiles = quantiles.map(|(name, us)| Bar {
        name: name.to_owned(),
        figure: us,
        text: format!("{} ms", table::ms(us)),
        range: None,
        is_marked: name == "p99",
    });
    let charts =
        [bars("operations a second (more is better)", &rates), bars("latency in ms (less is better)", &quantiles)];
    wide(&charts.concat())
}
