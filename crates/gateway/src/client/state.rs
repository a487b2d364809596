//! What the gateway remembers of a client: the state that Redis would keep for its connection.

use pool::Needs;
use settings::FailedLogins;

/// `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// The reply to the next request is left out.
    SkipNext,
}

/// Whether what a client sends may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Transaction {
    #[default]
    Open,
    /// A `MULTI` was refused: nothing up to the end of its transaction may run.
    Aborted,
}

/// See the module's documentation.
// Open: a plain value that the commands of a client read and change.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// As `CLIENT ID` says it.
    pub(crate) id: u64,
    /// `CLIENT SETNAME`; empty for none.
    pub(crate) name: Vec<u8>,
    /// Database and protocol version, which every job of the session needs.
    pub(crate) needs: Needs,
    /// May send commands: has logged in, or nobody has to.
    pub(crate) authenticated: bool,
    /// Who has logged in, if anybody has.
    pub(crate) user: Option<String>,
    pub(crate) failed_logins: FailedLogins,
    pub(crate) replies: Replies,
    /// `CLIENT NO-EVICT`, which only `CLIENT INFO` shows.
    pub(crate) no_evict: bool,
    pub(crate) transaction: Transaction,
}

impl ClientState {
    pub(crate) fn new(id: u64, db: u32, authenticated: bool) -> Self {
        Self {
            id,
            name: Vec::new(),
            needs: Needs { db, ..Needs::default() },
            authenticated,
            user: None,
            failed_logins: FailedLogins::default(),
            replies: Replies::On,
            no_evict: false,
            transaction: Transaction::Open,
        }
    }

    /// As new, but for what its wrong passwords have cost it.
    pub(crate) fn reset(&mut self, db: u32, authenticated: bool) {
        let failed_logins = std::mem::take(&mut self.failed_logins);
        *self = Self { failed_logins, ..Self::new(self.id, db, authenticated) };
    }

    /// The client has proved to be `user`.
    pub(crate) fn log_in(&mut self, user: String) {
        self.authenticated = true;
        self.user = Some(user);
    }

    /// Whether the reply to the request at hand is left out.
    pub(crate) fn is_muted(&self) -> bool {
        self.replies != Replies::On
    }

    /// A request has been dealt with.
    pub(crate) fn request_done(&mut self) {
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
    }
}
