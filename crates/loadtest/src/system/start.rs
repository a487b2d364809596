//! The systems that `compare` and `tune` start themselves: on loopback, on ports that the machine
//! chooses, in a directory that goes with them, and ended by their process ids, whatever happens.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use resp::Value;
use thiserror::Error;
use tokio::time::sleep;

use crate::{
    system::{
        doors::{Doors, Wanted},
        process::Process,
    },
    target::{Target, Transport},
};

/// The longest that a system may take to answer after its start.
const START_TIME_MAX: Duration = Duration::from_secs(5);
/// Between two looks at a system that is starting.
const LOOK_PAUSE: Duration = Duration::from_millis(3);
/// Attempts with another port, should somebody else take the one that was free.
const PORT_ATTEMPTS: u32 = 5;

/// A system cannot be used.
#[derive(Debug, Error)]
pub enum SystemError {
    /// Its program is not installed; holds the program and how to get it.
    #[error("{0} is not installed: {1}")]
    Absent(&'static str, &'static str),
    /// It ended or did not answer; holds its name, what happened, and the end of its log.
    #[error("{0} {1}{2}")]
    Start(String, String, String),
    /// A file or process operation failed; holds what was tried.
    #[error("cannot {0}")]
    Io(String, #[source] std::io::Error),
    /// The configuration file for respool is not right; holds the file.
    #[error("{0}: {1}")]
    Config(PathBuf, String),
}

/// One running system.
#[derive(Debug)]
pub struct System {
    /// What reports call it.
    pub name: String,
    /// Where to put the load.
    pub target: Target,
    /// The same by other transports.
    pub further: Vec<Target>,
    /// Its process; none for a system that somebody else has started.
    pub process: Option<Process>,
    /// Its settings in a few words.
    pub settings: String,
    /// Whether it has no Redis behind it: what it answers is canned.
    pub is_canned: bool,
}

impl System {
    /// Where to put a load that comes by `transport`; nothing if the system does not speak it.
    pub fn over(&self, transport: Transport) -> Option<&Target> {
        [&self.target].into_iter().chain(&self.further).find(|target| target.transport() == transport)
    }
}

/// A port that nobody used a moment ago.
pub(super) fn free_port() -> Result<u16, SystemError> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| SystemError::Io("find a free port".to_owned(), error))
}

/// Where `program` is: beside this program, in PATH, or where Debian puts daemons.
pub fn find(program: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut places = beside.into_iter().chain(std::env::split_paths(&path)).chain(daemons);
    places.find_map(|place| Some(place.join(program)).filter(|file| file.is_file()))
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), SystemError> {
    fs::write(path, text).map_err(|error| SystemError::Io(format!("write {}", path.display()), error))
}

/// Waits until `found` finds something, or the process ends, or it has had its time.
pub(super) async fn started<T>(
    name: &str,
    process: &mut Process,
    mut found: impl AsyncFnMut(&Process) -> Option<T>,
) -> Result<T, SystemError> {
    let begun = Instant::now();
    loop {
        if let Some(found) = found(process).await {
            return Ok(found);
        }
        let ended = process.ended();
        if ended.is_some() || begun.elapsed() > START_TIME_MAX {
            let what = ended.map_or_else(
                || format!("did not answer within {START_TIME_MAX:?}"),
                |status| format!("ended ({status})"),
            );
            return Err(SystemError::Start(name.to_owned(), what, process.log_tail()));
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// Starts something that is told where to listen, and waits until it answers a `PING`. Its settings are
/// left empty.
pub(super) async fn start_at_doors(
    name: &str,
    directory: &Path,
    wanted: &Wanted,
    mut command: impl FnMut(&Doors, &Path) -> Result<std::process::Command, SystemError>,
) -> Result<System, SystemError> {
    let mut attempt = 1;
    loop {
        let own = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(directory)
            .map_err(|error| SystemError::Io(format!("make a directory for {name}"), error))?
            .keep();
        let doors = wanted.choose(&own)?;
        let mut further = doors.targets();
        let target = further.remove(0);
        let mut process = Process::start(command(&doors, &own)?, &own.join("log"))?;
        let answers = async |_: &Process| {
            let answer = target.ask(&["PING"], Duration::from_millis(200)).await;
            matches!(answer, Ok(Value::Simple(_))).then_some(())
        };
        match started(name, &mut process, answers).await {
            Ok(()) => {
                let (name, settings) = (name.to_owned(), String::new());
                return Ok(System { name, target, further, process: Some(process), settings, is_canned: false });
            }
            Err(error) if attempt == PORT_ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}
