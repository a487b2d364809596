//! The curve that was found, as text and as a page, and how sure the answer is.

use std::fmt::Write;

use crate::{
    report::{
        about::About,
        bars::{Bar, bars},
        page::{page, preformatted, section, wide},
        plot::{Axis, Line, Scale, plot},
        table::{self, columns, rate},
    },
    tune::{
        point::Point,
        tuned::{Measured, Tuned, Written},
        verdict::Certainty,
    },
};

/// The widest bar of the curve, in characters.
const BAR: f64 = 30.0;
/// Pools on the page's chart of bars.
const BARS: usize = 10;

/// The curve and the answer.
pub fn text(tuned: &Tuned) -> String {
    let most = tuned.curve.iter().map(|measured| measured.rate).fold(1.0, f64::max);
    let mut rows = vec![["threads", "workers", "depth", "rounds", "rate/s", "p99 ms", ""].map(str::to_owned).to_vec()];
    rows.extend(tuned.curve.iter().map(|measured| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the widest bar")]
        let bar = "#".repeat((measured.rate / most * BAR).round() as usize);
        let Point { threads, workers, depth } = measured.point;
        let mark = if tuned.choice.point == measured.point { " <- chosen" } else { "" };
        let figures = [threads.to_string(), workers.to_string(), depth.to_string(), measured.rounds.to_string()];
        let bar = format!("{bar:30}{mark:10}");
        figures.into_iter().chain([rate(measured.rate), format!("{:.3}", measured.p99_ms), bar]).collect()
    }));
    format!("{}\n{}\n\n{}\n{}", tuned.upstream, tuned.load, columns(&rows), answer(tuned))
}

fn answer(tuned: &Tuned) -> String {
    let (choice, Point { threads, workers, depth }) = (&tuned.choice, tuned.choice.point);
    let mut text =
        format!("[runtime]\nthreads = {threads}\n\n[pool]\nworkers = {workers}\npipeline_depth = {depth}\n\n");
    // Writing into a String cannot fail.
    let mut line = |line: String| writeln!(text, "{line}").expect("a String takes all");
    line(format!(
        "{}: at most {:.1} % slower than the fastest (95 % confidence), from {} rounds; single measurements of \
         one setting\nvary by {:.1} % here{}",
        choice.certainty,
        choice.slower_at_most * 100.0,
        choice.rounds,
        choice.noise * 100.0,
        match choice.certainty {
            Certainty::Sure => "",
            Certainty::Likely | Certainty::NotSure => ": measure longer (--budget) or on a quieter machine",
        }
    ));
    if choice.any_depth {
        line("every pipeline_depth did equally well with these workers: the default stays".to_owned());
    }
    if let Some(target) = tuned.p99_ms_max {
        line(if choice.keeps_target {
            format!("it keeps the p99 target of {target} ms")
        } else {
            format!("NO pool kept the p99 target of {target} ms; this is the best without it")
        });
    }
    if let Some(early) = &tuned.ended_early {
        line(format!("ended by: {early}; what was measured until then decided"));
    }
    table::keys(&tuned.keys).into_iter().for_each(&mut line);
    match &tuned.written {
        Written::NotAsked => {}
        Written::To(file) => line(format!("written to {}", file.display())),
        Written::Refused(why) => line(format!("NOT WRITTEN: {why}")),
    }
    text
}

/// What to set, what that gives, and how sure it is.
fn advice(tuned: &Tuned) -> String {
    let (choice, Point { threads, workers, depth }) = (&tuned.choice, tuned.choice.point);
    let found = tuned.curve.iter().find(|measured| measured.point == choice.point);
    let gives = found.map_or_else(String::new, |found| {
        let (low, high) = found.rate_range;
        format!(
            "It gives {} operations a second ({} to {} at 95 % confidence) with a p99 of {:.3} ms. ",
            rate(found.rate),
            rate(low),
            rate(high),
            found.p99_ms
        )
    });
    format!(
        "Set <b><code>runtime.threads = {threads}</code>, <code>pool.workers = {workers}</code> and \
         <code>pool.pipeline_depth = {depth}</code></b>. {gives}No pool that was measured is more than {:.1} % faster; \
         this answer is <b>{}</b>.",
        choice.slower_at_most * 100.0,
        choice.certainty
    )
}

/// The chosen pool beside the fastest others, and the ranges in which their rates are.
fn overview(tuned: &Tuned) -> String {
    let chosen = tuned.choice.point;
    let mut shown: Vec<_> = tuned.curve.iter().collect();
    shown.sort_by(|one, other| other.rate.total_cmp(&one.rate));
    let place = shown.iter().position(|measured| measured.point == chosen).unwrap_or(0);
    let chosen_one = (place >= BARS).then(|| shown[place]);
    shown.truncate(BARS);
    shown.extend(chosen_one);
    let bar = |measured: &Measured| {
        let (Point { threads, workers, depth }, is_marked) = (measured.point, measured.point == chosen);
        let mark = if is_marked { ", chosen" } else { "" };
        let threads = if threads == 1 { String::new() } else { format!("{threads} threads, ") };
        Bar {
            name: format!("{threads}{workers} workers, depth {depth}"),
            figure: measured.rate,
            text: format!("{}/s{mark}", rate(measured.rate)),
            range: Some(measured.rate_range),
            is_marked,
        }
    };
    let what = "operations a second of the fastest pools (more is better; the line shows where the truth is, at 95 %)";
    bars(what, &shown.into_iter().map(bar).collect::<Vec<_>>())
}

/// The page: what to set, and plots of rate and p99 by workers and by depth.
pub fn html(tuned: &Tuned, about: &About) -> String {
    let chosen = tuned.choice.point;
    let line = |name: &str, keep: &dyn Fn(Point) -> bool, x: fn(Point) -> u32, y: fn(&Measured) -> f64| {
        let points = tuned.curve.iter().filter(|measured| keep(measured.point));
        let mut points: Vec<_> = points.map(|measured| (f64::from(x(measured.point)), y(measured))).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let marked = tuned.curve.iter().find(|measured| measured.point == chosen && keep(measured.point));
        let marked = marked.map(|measured| (f64::from(x(measured.point)), y(measured)));
        Line { name: name.to_owned(), points, marked }
    };
    let mut plots = String::new();
    let axis = |name| Axis { name, scale: Scale::Log };
    for (name, y) in [("rate, operations/s", (|m| m.rate) as fn(&Measured) -> f64), ("p99, ms", |m| m.p99_ms)] {
        let up = Axis { name, scale: Scale::Linear };
        let mut depths: Vec<_> = tuned.curve.iter().map(|measured| measured.point.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        let lines: Vec<_> = depths
            .iter()
            .map(|depth| {
                let keep = |point: Point| point.threads == chosen.threads && point.depth == *depth;
                line(&format!("depth {depth}"), &keep, |point| point.workers, y)
            })
            .filter(|line| line.points.len() > 1)
            .collect();
        plots += &section(&format!("{name} by workers"), &plot(axis("workers"), up, &lines));
        let keep = |point: Point| point.threads == chosen.threads && point.workers == chosen.workers;
        let lines = [line(&format!("workers {}", chosen.workers), &keep, |point| point.depth, y)];
        plots += &section(&format!("{name} by pipeline depth"), &plot(axis("pipeline depth, requests"), up, &lines));
    }
    let body = [overview(tuned), wide(&plots), preformatted(&text(tuned))];
    page("Pool size found by measuring", &advice(tuned), about, &body.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::written_keys::WrittenKeys, tune::verdict::Choice};

    #[test]
    fn the_answer_is_marked_and_says_how_sure_it_is() {
        let point = Point { threads: 1, workers: 2, depth: 64 };
        let best = Point { workers: 4, ..point };
        let measured =
            |point, rate| Measured { point, rounds: 9, rate, rate_range: (rate * 0.9, rate * 1.1), p99_ms: 1.5 };
        let mut tuned = Tuned {
            upstream: "redis://h:1".to_owned(),
            load: "200 connections".to_owned(),
            choice: Choice {
                point,
                best,
                rounds: 9,
                noise: 0.042,
                slower_at_most: 0.0512,
                certainty: Certainty::Sure,
                any_depth: false,
                keeps_target: false,
            },
            p99_ms_max: Some(1.0),
            curve: vec![measured(point, 90_000.0), measured(best, 100_000.0)],
            ended_early: None,
            written: Written::NotAsked,
            keys: WrittenKeys::default(),
        };
        let found = text(&tuned);
        let bars: Vec<_> = found.lines().filter(|line| line.contains('#')).collect();
        assert!(bars[0].ends_with("###    <- chosen") && !bars[1].contains("chosen"), "{found}");
        assert_eq!(bars[0].find('#'), bars[1].find('#'), "{found}");
        assert!(found.contains("sure: at most 5.1 % slower") && found.contains("from 9 rounds"), "{found}");
        assert!(found.contains("vary by 4.2 % here\n") && found.contains("NO pool kept"), "{found}");
        tuned.choice.certainty = Certainty::NotSure;
        assert!(text(&tuned).contains("not sure: ") && text(&tuned).contains("quieter machine"));
        let page = html(&tuned, &About::now());
        assert!(page.contains("p99, ms by pipeline depth") && page.contains(">chosen</text>"), "{page}");
        assert!(page.contains("pool.workers = 2</code>") && page.contains("81,000 to 99,000 at 95 %"), "{page}");
        assert!(page.contains("90,000/s, chosen") && page.contains("is <b>not sure</b>"), "{page}");
    }
}
