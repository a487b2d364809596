//! The curve that was found, as text and as a page, and how sure the answer is.

use std::fmt::Write;

use crate::{
    report::{
        page::{page, preformatted, section},
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
            Certainty::Sure | Certainty::Likely => "",
            Certainty::NotSure => ": measure longer (--budget) or on a quieter machine",
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

/// The page: the text, and plots of rate and p99 by workers and by depth.
pub fn html(tuned: &Tuned) -> String {
    let chosen = tuned.choice.point;
    let line = |name: &str, keep: &dyn Fn(Point) -> bool, x: fn(Point) -> u32, y: fn(&Measured) -> f64| {
        let points = tuned.curve.iter().filter(|measured| keep(measured.point));
        let mut points: Vec<_> = points.map(|measured| (f64::from(x(measured.point)), y(measured))).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Line { name: name.to_owned(), points }
    };
    let mut body = preformatted(&text(tuned));
    let axis = |name| Axis { name, scale: Scale::Log };
    for (name, y) in [("rate/s", (|m| m.rate) as fn(&Measured) -> f64), ("p99, ms", |m| m.p99_ms)] {
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
        body += &section(&format!("{name} by workers"), &plot(axis("workers"), up, &lines));
        let keep = |point: Point| point.threads == chosen.threads && point.workers == chosen.workers;
        let lines = [line(&format!("workers {}", chosen.workers), &keep, |point| point.depth, y)];
        body += &section(&format!("{name} by pipeline depth"), &plot(axis("pipeline depth"), up, &lines));
    }
    page("Pool size found by measuring", &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::written_keys::WrittenKeys, tune::verdict::Choice};

    #[test]
    fn the_answer_is_marked_and_says_how_sure_it_is() {
        let point = Point { threads: 1, workers: 2, depth: 64 };
        let best = Point { workers: 4, ..point };
        let measured = |point, rate| Measured { point, rounds: 9, rate, p99_ms: 1.5 };
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
        assert!(html(&tuned).contains("p99, ms by pipeline depth"));
    }
}
