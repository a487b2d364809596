//! Logins that the upstream decides: each is proven by a connection that is made with it, has a pool of its own as long as
//! it is used, and counts for a while for those who come next with the same name and password. Another password is another
//! login: it is asked of the upstream, and never meets what the right one opened. Nothing is kept of one that was refused.
//! Whoever comes with a login that is being proven waits for that, and all who have waited since before the upstream was
//! asked go by one answer. Few are asked at a time, so that whoever guesses opens few connections; what was right before and
//! still has its pool does not wait behind the guesses.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::{Mutex as Turn, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    pool::{
        access::Access,
        key::Key,
        pools::{NoPool, Pools},
    },
    settings::login::Login,
    upstream::conversation::{Conversation, ConversationError},
};

/// Logins of which nothing is known that are asked of the upstream at a time.
const GUESSES_MAX: usize = 12;

/// The same of those that were right before.
const RETURNING_MAX: usize = 4;

/// What the connection that proves a login is known as.
const NAME: &str = "respool-login";

/// See the module's documentation. Clones are cheap and equal.
#[derive(Debug, Clone)]
pub struct Logins(Arc<Desk>);

/// Why a login has no pool.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoginFailure {
    /// The upstream refuses it, in these words.
    #[error("{0}")]
    Refused(Arc<str>),
    /// The upstream could not be asked; holds why.
    #[error("{0}")]
    Unasked(Arc<str>),
    /// There is a pool for as many logins as there may be.
    #[error(transparent)]
    NoPool(#[from] NoPool),
}

/// What the upstream says to those without a login, and when it was asked. Refused in these words.
#[derive(Debug, Clone)]
struct Told {
    at: Instant,
    refused: Option<Arc<str>>,
}

/// The last answer to those who want to know of one login, and when the upstream was asked.
type Asked = Option<(Instant, Result<(), LoginFailure>)>;

#[derive(Debug)]
struct Desk {
    pools: Pools,
    guesses: Semaphore,
    returning: Semaphore,
    /// Logins that are being proven, each with the turn of those who want to know.
    turns: Mutex<HashMap<Login, Arc<Turn<Asked>>>>,
    /// Whether the upstream's default user needs no password, and when it was asked.
    nobody: Mutex<Option<Told>>,
}

impl Logins {
    /// Those of the upstream to which `pools` lead.
    pub fn new(pools: Pools) -> Self {
        let (turns, nobody) = (Mutex::default(), Mutex::default());
        let (guesses, returning) = (Semaphore::new(GUESSES_MAX), Semaphore::new(RETURNING_MAX));
        Self(Arc::new(Desk { pools, guesses, returning, turns, nobody }))
    }

    /// The way into the pool of a login, which the upstream has let in within `fresh` or lets in now. Waits at most
    /// `connect_timeout` until it can be asked, and as long again for its answer; as long again, too, while nobody knows where
    /// the upstream is.
    ///
    /// # Errors
    /// See [`LoginFailure`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the question; whoever waits for the same login asks it anew.
    pub async fn enter(&self, login: &Login, fresh: Duration) -> Result<Access, LoginFailure> {
        if let Some(known) = self.known(login, fresh) {
            return known;
        }
        let turn = Arc::clone(lock(&self.0.turns).entry(login.clone()).or_default());
        let _left = Left { desk: &self.0, login };
        let (key, came) = (Key::login(login.clone()), Instant::now());
        let waits = async {
            let turn = turn.lock().await;
            if let Some(known) = self.known(login, fresh) {
                return Err(known);
            }
            match turn.as_ref().filter(|(at, _)| *at > came) {
                Some((_, answer)) => Err(answer.clone().and_then(|()| Ok(self.0.pools.find(&key)?))),
                // It is never closed.
                None if self.0.pools.proven_within(&key, Duration::MAX).is_some() => {
                    Ok((turn, self.0.returning.acquire().await))
                }
                None => Ok((turn, self.0.guesses.acquire().await)),
            }
        };
        let limit = self.0.pools.first().settings().connect_timeout;
        let waited = timeout(limit, waits).await.map_err(|_| {
            let reason = format!("others are being asked, and were not done within {} ms", limit.as_millis());
            LoginFailure::Unasked(reason.into())
        })?;
        // Held until it is known that the login was let in: whoever waits for it finds a pool that goes by that.
        let (mut turn, _asking) = match waited {
            Ok(turns) => turns,
            Err(known) => return known,
        };
        let at = Instant::now();
        let asked = turn.insert((at, self.ask(login).await)).1.clone();
        if *login == Login::Nobody
            && let Ok(()) | Err(LoginFailure::Refused(_)) = &asked
        {
            let refused = asked.as_ref().err().map(|error| error.to_string().into());
            *lock(&self.0.nobody) = Some(Told { at: Instant::now(), refused });
        }
        asked?;
        Ok(self.0.pools.find_proven(&key)?)
    }

    fn known(&self, login: &Login, fresh: Duration) -> Option<Result<Access, LoginFailure>> {
        if *login == Login::Nobody {
            let told = lock(&self.0.nobody).clone().filter(|told| told.at.elapsed() < fresh)?;
            return Some(match told.refused {
                None => self.0.pools.find(&Key::login(Login::Nobody)).map_err(LoginFailure::from),
                Some(words) => Err(LoginFailure::Refused(words)),
            });
        }
        self.0.pools.proven_within(&Key::login(login.clone()), fresh).map(Ok)
    }

    async fn ask(&self, login: &Login) -> Result<(), LoginFailure> {
        let settings = self.0.pools.first().settings_once_found().await;
        let endpoint = login.endpoint(settings.endpoint.clone());
        match Conversation::prove(&endpoint, NAME, settings.connect_timeout).await {
            Ok(()) => Ok(()),
            Err(ConversationError::Refused(words)) => Err(LoginFailure::Refused(words.into())),
            Err(error) => Err(LoginFailure::Unasked(error.to_string().into())),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a login forgotten once nobody wants to know of it any more.
struct Left<'d> {
    desk: &'d Desk,
    login: &'d Login,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        let mut turns = lock(&self.desk.turns);
        // Ours is one of them, and the map's.
        if turns.get(self.login).is_some_and(|turn| Arc::strong_count(turn) <= 2) {
            turns.remove(self.login);
        }
    }
}
