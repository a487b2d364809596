//! A child process that never outlives its owner.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use std::os::unix::process::CommandExt;

use crate::system::SystemError;

/// The part of a log that an error message shows, in lines.
const TAIL_LINES: usize = 5;

/// A running child; dropping it kills it. What it held was made for it and goes with it, so there is
/// nothing that it would have to finish.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output in `log`.
    ///
    /// # Errors
    /// The log cannot be made or the program not started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self, SystemError> {
        let program = command.get_program().display().to_string();
        let failed = |error| SystemError::Io(format!("start {program}"), error);
        let file = File::create(log).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
        // In a group of its own, so that Ctrl-C reaches this program first and the children end in order.
        let child = command.process_group(0).spawn().map_err(failed)?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of that, for an error message.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| format!("\n  {line}")).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has ended and been waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
