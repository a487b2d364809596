//! What a gateway says on standard error, read by a thread of its own: kept whole, so that a test can wait
//! for a line and, at the end, that nothing was said above `info` that it did not expect.

use std::{
    io::{BufRead, BufReader},
    process::ChildStderr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::within;

/// The lines so far. In the JSON format a line is an object, in the text format words.
pub struct Logs {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    stall: Arc<Stall>,
}

/// Whether nothing is read.
#[derive(Default)]
struct Stall(Mutex<bool>, Condvar);

impl Stall {
    fn set(&self, is_stalled: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = is_stalled;
        self.1.notify_all();
    }

    fn wait_over(&self) {
        let is_stalled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.1.wait_while(is_stalled, |is_stalled| *is_stalled));
    }
}

impl Logs {
    pub fn read(stderr: ChildStderr) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stall = Arc::new(Stall::default());
        let reader = thread::spawn({
            let (lines, stall) = (Arc::clone(&lines), Arc::clone(&stall));
            move || {
                for line in BufReader::new(stderr).lines() {
                    stall.wait_over();
                    let Ok(line) = line else { break };
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            }
        });
        Self { lines, reader: Some(reader), stall }
    }

    /// Reads nothing meanwhile.
    pub fn set_stalled(&self, is_stalled: bool) {
        self.stall.set(is_stalled);
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first line that holds `text`.
    pub fn find(&self, text: &str) -> Option<String> {
        self.lines().into_iter().find(|line| line.contains(text))
    }

    /// How many lines hold `text`.
    pub fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line that holds `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str, deadline: Duration) -> String {
        within(deadline, &format!("the log line {text:?}"), || self.find(text))
    }

    /// Waits until so many lines hold `text`; there may be more by then.
    #[track_caller]
    pub fn wait_for_count(&self, text: &str, count: usize, deadline: Duration) {
        within(deadline, &format!("{count} log lines {text:?}"), || (self.count(text) >= count).then_some(()));
    }

    /// Reads what is left, once the process has ended.
    pub fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader of the logs does not panic");
        }
    }

    /// Lines above `info`, and those that are no log lines at all, such as a panic's, except the allowed.
    pub fn complaints(&self, allowed: &[String]) -> Vec<String> {
        let expected = |line: &String| {
            let harmless = is_json_of_level(line, &["INFO", "DEBUG", "TRACE"]) || is_text_of_level(line);
            harmless || allowed.iter().any(|allowed| line.contains(allowed))
        };
        self.lines().into_iter().filter(|line| !expected(line)).collect()
    }

    /// A field of a line in the JSON format.
    pub fn field(line: &str, name: &str) -> Option<String> {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line["fields"][name].as_str()?.to_owned())
    }
}

fn is_json_of_level(line: &str, levels: &[&str]) -> bool {
    serde_json::from_str::<serde_json::Value>(line)
        .is_ok_and(|line| line["level"].as_str().is_some_and(|level| levels.contains(&level)))
}

/// Text lines may be coloured; the level stands between spaces or escapes.
fn is_text_of_level(line: &str) -> bool {
    !line.starts_with('{') && [" INFO", "INFO "].iter().any(|level| line.contains(level))
}
