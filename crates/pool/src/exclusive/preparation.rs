//! Requests of our own that an exclusive connection needs before a client's, and the replies that they get: what cleans
//! it after one borrower and what brings it into the state that the next one needs.

use std::{io, sync::Arc};

use resp::{Protocol, ReplyKind, write_request};
use zeroize::Zeroizing;

use crate::error::{JobError, Sent};

/// More than all that cleans a connection has bytes besides a login's words.
const ROOM_BYTES: usize = 512;

/// One request of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Reset,
    LogIn,
    /// A convenience, whatever becomes of it.
    Name,
    Hello,
    Select(u32),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    /// Not written yet. Wiped when dropped, since a login may be among them.
    requests: Zeroizing<Vec<u8>>,
    /// Not answered yet, the first one first.
    owed: Vec<Step>,
}

/// Why a connection is not in the state it was to be brought into.
#[derive(Debug)]
pub(crate) enum Unprepared {
    /// The upstream refuses the state, in these words. The connection is as it was.
    Refused(Arc<str>),
    /// It is of no further use.
    Io(io::Error),
}

impl From<io::Error> for Unprepared {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Unprepared> for io::Error {
    fn from(unprepared: Unprepared) -> Self {
        match unprepared {
            Unprepared::Refused(words) => Self::other(JobError::StateRefused(words)),
            Unprepared::Io(error) => error,
        }
    }
}

impl From<Unprepared> for JobError {
    fn from(unprepared: Unprepared) -> Self {
        match unprepared {
            Unprepared::Refused(words) => Self::StateRefused(words),
            Unprepared::Io(error) => Self::ConnectionLost { reason: error.to_string().into(), sent: Sent::No },
        }
    }
}

impl Preparation {
    /// Takes back all that a borrower may have left behind.
    pub(crate) fn reset(login: Option<&[&[u8]]>) -> Self {
        let login_bytes: usize = login.into_iter().flatten().map(|word| word.len()).sum();
        // Room for what follows as well: a copy would be left behind if it had to be moved.
        let requests = Zeroizing::new(Vec::with_capacity(login_bytes + ROOM_BYTES));
        let mut preparation = Self { requests, owed: Vec::new() };
        preparation.push(Step::Reset, &["RESET"]);
        if let Some(login) = login {
            preparation.push(Step::LogIn, login);
        }
        preparation
    }

    pub(crate) fn name<A: AsRef<[u8]>>(&mut self, request: &[A]) {
        self.push(Step::Name, request);
    }

    /// Whether what is sent next is to be executed only if the upstream grants something.
    pub(crate) fn decides(&self) -> bool {
        self.owed.iter().any(|step| *step != Step::Name)
    }

    pub(crate) fn hello(&mut self, protocol: Protocol) {
        self.push(Step::Hello, &["HELLO", &protocol.version().to_string()]);
    }

    pub(crate) fn select(&mut self, db: u32) {
        self.push(Step::Select(db), &["SELECT", &db.to_string()]);
    }

    fn push<A: AsRef<[u8]>>(&mut self, step: Step, request: &[A]) {
        write_request(&mut self.requests, request);
        self.owed.push(step);
    }

    /// What is to be written now, which then counts as written.
    pub(crate) fn take_requests(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.requests)
    }

    /// Whether replies are still to come, or requests to be written.
    pub(crate) fn is_owed(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Takes in what came while replies are owed.
    pub(crate) fn answered(&mut self, kind: ReplyKind, reply: &[u8]) -> Result<(), Unprepared> {
        let Some(step) = self.owed.first().copied() else { return Ok(()) };
        let is_error = kind == ReplyKind::Error;
        // Messages for whoever had it before come until it was reset, and are nobody's now.
        let is_foreign = step == Step::Reset && !is_error && reply != b"+RESET\r\n";
        if kind == ReplyKind::Push || is_foreign {
            return Ok(());
        }
        self.owed.remove(0);
        match step {
            Step::Reset if is_error => Err(io::Error::other("not clean").into()),
            // Valkey 8.1 does not answer a login that it refuses where a reply before it is still to be written: what comes
            // then answers the next request.
            Step::LogIn if reply != b"+OK\r\n" => Err(io::Error::other("not logged in").into()),
            // A password is wanted since it was made. Whatever is sent on it would be refused, or do what it should not.
            _ if is_error && reply.starts_with(b"-NOAUTH ") => Err(io::Error::other("no longer logged in").into()),
            Step::Hello | Step::Select(_) if is_error => {
                let words = String::from_utf8_lossy(&reply[1..]);
                Err(Unprepared::Refused(words.trim_end().into()))
            }
            Step::Reset | Step::LogIn | Step::Name | Step::Hello | Step::Select(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_reset_is_done_is_nobodys() {
        let mut preparation = Preparation::reset(None);
        preparation.name(&["CLIENT", "SETNAME", "x"]);
        assert!(!preparation.take_requests().is_empty() && preparation.take_requests().is_empty());
        for message in ["*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", "+OK\r\n"] {
            preparation.answered(ReplyKind::Answer, message.as_bytes()).unwrap();
        }
        preparation.answered(ReplyKind::Answer, b"+RESET\r\n").unwrap();
        assert!(preparation.is_owed());
        preparation.answered(ReplyKind::Error, b"-BUSY a script\r\n").unwrap();
        assert!(!preparation.is_owed(), "a name is a convenience");
        preparation.name(&["CLIENT", "SETNAME", "x"]);
        let refused = preparation.answered(ReplyKind::Error, b"-NOAUTH Authentication required.\r\n").unwrap_err();
        assert!(matches!(refused, Unprepared::Io(_)), "a login is none");
    }

    #[test]
    fn a_login_is_answered_by_ok_and_by_nothing_else() {
        for (said, is_right) in [("+OK\r\n", true), ("-WRONGPASS no\r\n", false), ("*0\r\n", false)] {
            let mut preparation = Preparation::reset(Some(&[b"AUTH", b"u", b"p"]));
            preparation.name(&["HELLO", "2", "SETNAME", "x"]);
            preparation.answered(ReplyKind::Answer, b"+RESET\r\n").unwrap();
            let kind = if said.starts_with('-') { ReplyKind::Error } else { ReplyKind::Answer };
            assert_eq!(preparation.answered(kind, said.as_bytes()).is_ok(), is_right, "{said}");
        }
    }

    #[test]
    fn a_state_that_is_refused_is_refused_in_the_upstreams_words() {
        let mut preparation = Preparation::default();
        preparation.hello(Protocol::Resp3);
        preparation.select(7);
        preparation.answered(ReplyKind::Answer, b"%0\r\n").unwrap();
        let refused = preparation.answered(ReplyKind::Error, b"-ERR DB index is out of range\r\n").unwrap_err();
        assert_eq!(JobError::from(refused), JobError::StateRefused("ERR DB index is out of range".into()));
    }
}
