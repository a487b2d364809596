//! The live line on a terminal: rate, p99 and what went wrong so far. Nothing at all when the
//! standard error stream is piped.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    load::{Load, Until},
    measure::timeline::Sample,
};

/// The line; it is wiped when dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// The line of one load.
    pub fn of(load: &Load) -> Self {
        match load.until {
            Until::Time(time) => Self::new(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            // Its length in time is not known: only what happens is shown.
            Until::Count(_) => Self::new(0),
        }
    }

    /// The line of a series of `length` steps, or of so many milliseconds.
    pub fn new(length: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        // A template that does not parse would be seen by every user at once; then the default serves.
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    /// Says how many steps there are, once that is known.
    pub fn set_length(&self, length: u64) {
        self.0.set_length(length);
    }

    /// Shows a sample.
    pub fn show(&self, sample: &Sample) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a load, positive")]
        self.0.set_position((sample.at_s * 1e3) as u64);
        let wrong = if sample.errors == 0 { String::new() } else { format!("  {} failed", sample.errors) };
        self.0.set_message(format!("{:.0}/s  p99 {:.3} ms{wrong}", sample.rate, sample.p99_us / 1e3));
    }

    /// Shows which step of a series is under way.
    pub fn step(&self, position: u64, text: String) {
        self.0.set_position(position);
        self.0.set_message(text);
    }

    /// Writes a line above the live one.
    pub fn line(&self, text: &str) {
        if self.0.is_hidden() {
            eprintln!("{text}");
        } else {
            self.0.println(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
