//! The users that have clients, or have limits of their own: one account for each. Of the others no more is kept than
//! what they have counted together. Part of what `observe::published` holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use settings::Limits;

use crate::observe::sharing::account::{Account, Member, UserFigures};

/// So many accounts may be unused before they are looked through.
const UNUSED_MAX: usize = 64;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    accounts: HashMap<Arc<str>, Arc<Account>>,
    /// At how many accounts they are looked through.
    look_at: usize,
    /// What those have counted that are not there any more.
    past: UserFigures,
}

impl Accounts {
    /// Counts a client as one of `user`, as far as `limits` let it.
    ///
    /// # Errors
    /// The user has as many clients as it may have; holds how many.
    pub(crate) fn enter(&self, user: &str, limits: &Limits) -> Result<Member, usize> {
        self.lock().account(user, limits).enter(limits.of(user).clients_max)
    }

    /// The same for a client that is there already and stays whatever the bound is.
    pub(crate) fn keep(&self, user: &str, limits: &Limits) -> Member {
        self.lock().account(user, limits).join()
    }

    /// The account of each user that has one, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        let mut all: Vec<_> = self.lock().accounts.values().cloned().collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// What those have counted that are not there any more.
    pub(crate) fn past(&self) -> UserFigures {
        self.lock().past
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The account of `user`, which is opened if there is none.
    fn account(&mut self, user: &str, limits: &Limits) -> &Arc<Account> {
        if !self.accounts.contains_key(user) {
            if self.accounts.len() >= self.look_at {
                self.forget_unused(limits);
            }
            self.accounts.insert(user.into(), Arc::new(Account::new(user)));
        }
        &self.accounts[user]
    }

    fn forget_unused(&mut self, limits: &Limits) {
        let Self { accounts, past, .. } = self;
        accounts.retain(|user, account| {
            let stays = limits.name(user) || !account.is_unused();
            if !stays {
                *past = past.and(account.figures());
            }
            stays
        });
        self.look_at = accounts.len().saturating_mul(2) + UNUSED_MAX;
    }
}

#[cfg(test)]
mod tests {
    use settings::UserLimits;

    use super::*;

    fn limits(user: &str, clients_max: usize) -> Limits {
        let of_user = UserLimits { clients_max: Some(clients_max), ..UserLimits::default() };
        Limits::new(UserLimits::default(), [(user.to_owned(), of_user)])
    }

    #[test]
    fn a_user_has_no_more_clients_than_it_may_have_and_one_that_leaves_makes_room() {
        let (accounts, limits) = (Accounts::default(), limits("app", 2));
        let mut members = vec![accounts.enter("app", &limits).unwrap(), accounts.enter("app", &limits).unwrap()];
        assert_eq!(accounts.enter("app", &limits).map(drop), Err(2));
        members.push(accounts.keep("app", &limits));
        let others: Vec<_> = (0..100).map(|_| accounts.enter("other", &limits).unwrap()).collect();
        drop(members);
        assert!(accounts.enter("app", &limits).is_ok());
        let figures = accounts.all()[0].figures();
        assert_eq!((figures.clients, figures.clients_refused, others.len()), (0, 1, 100));
    }

    #[test]
    fn users_that_come_and_go_leave_no_more_than_their_sum() {
        let (accounts, limits) = (Accounts::default(), limits("app", 1));
        let _held = accounts.enter("held", &limits).unwrap();
        for number in 0..10_000 {
            accounts.enter(&format!("user-{number}"), &limits).unwrap().charge(1, limits.of("x"), false).unwrap();
        }
        assert!(accounts.all().len() <= 2 + 2 * UNUSED_MAX, "{}", accounts.all().len());
        let there = accounts.all().iter().fold(accounts.past(), |sum, account| sum.and(account.figures()));
        assert_eq!((there.requests, there.clients), (10_000, 1));
    }
}
