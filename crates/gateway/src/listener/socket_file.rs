//! The file of a unix socket: made where there is none or that of a dead process, and taken away at the end if it is
//! still ours. Of two processes that start at a time, one waits for the other.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use settings::UnixPlace;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::listener::door::BACKLOG;

/// How often the lock of a directory is tried, and the pause after each time.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A file that is ours as long as it is the one that was made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// What stands at a path.
enum Found {
    Nothing,
    /// The socket of a process that has ended.
    Stale,
    /// The socket of a process that lives.
    Live,
}

impl SocketFile {
    /// Listens at `place`. Where another process does, takes its place if `takes_over`: clients that come from then on
    /// come here, and the other process keeps those that it has.
    ///
    /// # Errors
    /// Another process listens there, something else is there, or the system refuses it.
    pub(crate) fn bind(place: &UnixPlace, takes_over: bool) -> io::Result<(UnixListener, Self)> {
        // Held until it is dropped: nobody else looks at what is there meanwhile.
        let _lock = lock(place.path.parent().unwrap_or(Path::new("/")))?;
        let (socket, path) = match look(&place.path)? {
            Found::Nothing => (listen(&place.path, place)?, &place.path),
            Found::Stale => {
                fs::remove_file(&place.path)?;
                (listen(&place.path, place)?, &place.path)
            }
            Found::Live if takes_over => {
                let mut new = place.path.clone().into_os_string();
                new.push(".new");
                let new = PathBuf::from(new);
                // Whoever made it did not live to rename it: we have the lock.
                let _ = fs::remove_file(&new);
                let socket = listen(&new, place)?;
                fs::rename(&new, &place.path)?;
                (socket, &place.path)
            }
            Found::Live => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        };
        let metadata = fs::symlink_metadata(path)?;
        Ok((socket, Self { path: path.clone(), device: metadata.dev(), inode: metadata.ino() }))
    }
}

impl Drop for SocketFile {
    /// The number of the file is not used again as long as the socket is open: the owner drops this first.
    fn drop(&mut self) {
        let is_ours =
            |file: fs::Metadata| file.file_type().is_socket() && (file.dev(), file.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket's file");
        }
    }
}

fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    for _ in 0..LOCK_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "another process has locked the directory"))
}

fn look(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::Stale),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        // Its queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Found::Live),
        Err(error) => Err(error),
        Ok(()) => Ok(Found::Live),
    }
}

/// Nobody can connect before the last step, so that permissions hold from the first client on.
fn listen(path: &Path, place: &UnixPlace) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(gid) = place.gid {
        chown(path, None, Some(gid))?;
    }
    if let Some(mode) = place.mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place(directory: &tempfile::TempDir) -> UnixPlace {
        UnixPlace { path: directory.path().join("r.sock"), mode: Some(0o600), gid: None }
    }

    #[test]
    fn the_file_of_the_dead_is_replaced_and_that_of_the_living_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory);
        let (socket, file) = SocketFile::bind(&place, false).unwrap();
        assert_eq!(fs::metadata(&place.path).unwrap().mode() & 0o777, 0o600);
        let refused = SocketFile::bind(&place, false).expect_err("it lives");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        // As after kill -9.
        std::mem::forget(file);
        drop(socket);
        assert!(place.path.exists());
        let (_socket, file) = SocketFile::bind(&place, false).expect("it is dead");
        UnixStream::connect(&place.path).expect("it is there");
        drop(file);
        assert!(!place.path.exists());
    }

    #[test]
    fn who_takes_over_keeps_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory);
        let (old, old_file) = SocketFile::bind(&place, true).unwrap();
        let _waiting = UnixStream::connect(&place.path).unwrap();
        let (new, new_file) = SocketFile::bind(&place, true).unwrap();
        let _next = UnixStream::connect(&place.path).unwrap();
        old.accept().expect("whom it had before");
        new.accept().expect("who came later");
        drop((old_file, old));
        assert!(place.path.exists(), "it is not his any more");
        drop((new_file, new));
        assert!(!place.path.exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory);
        fs::write(&place.path, "precious").unwrap();
        let refused = SocketFile::bind(&place, true).expect_err("no socket");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&place.path).unwrap(), b"precious");
    }
}
