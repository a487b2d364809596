//! What is made of what single connections learn of the upstream: what one of them has found out holds for all. A
//! policy without a clock and without a connection.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    settings::{endpoint::Endpoint, role::Role, tenure::Tenure},
    upstream::{facts::Facts, login::question::take_config},
};

/// Processes that the address led to before, and that are remembered.
const FORMER_MAX: usize = 4;

/// An address that leads back to a former process within this time leads to several, in turns.
const FORMER_FOR: Duration = Duration::from_secs(600);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    /// Where the facts were found.
    endpoint: Option<Endpoint>,
    facts: Arc<Facts>,
    former: VecDeque<(Arc<str>, Instant)>,
}

/// What a login has found out is to others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing new. Its connection is as good as those that there are.
    None,
    /// The same upstream says something else of itself now.
    Changed,
    /// Another upstream has taken over: connections to the former one are replaced.
    TakenOver,
    /// The address leads to several nodes. They are told apart no further.
    Several,
    /// It has come to a node that is not what is wanted while others have one that is. Holds which.
    Astray(String),
}

impl Knowledge {
    /// What is known of the upstream there.
    pub(crate) fn of(&self, endpoint: &Endpoint) -> Option<Arc<Facts>> {
        let same = self.endpoint.as_ref().is_some_and(|known| known.leads_where(endpoint));
        same.then(|| Arc::clone(&self.facts))
    }

    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts)
    }

    /// Takes in what a login has found out while others were `connected`. A node fits that has the role `wanted`.
    pub(crate) fn learn(
        &mut self,
        endpoint: &Endpoint,
        found: Facts,
        wanted: Option<Role>,
        connected: bool,
        now: Instant,
    ) -> News {
        let Some(known) = self.of(endpoint) else {
            self.former.clear();
            self.endpoint = Some(endpoint.clone());
            return self.take_over(found, now);
        };
        let fits = |role: Option<Role>| role.is_none() || wanted.is_none() || role == wanted;
        let is_other = match (&known.run_id, &found.run_id) {
            (Some(known), Some(found)) => known != found,
            // Where the process has no name, it is told by its role.
            (None, None) => fits(found.role) && !fits(known.role),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !is_other {
            let found = Facts { generation: known.generation, process: known.process.clone(), ..found };
            let changed = found != *known;
            self.facts = Arc::new(found);
            return if changed { News::Changed } else { News::None };
        }
        if !connected {
            return self.take_over(found, now);
        }
        match (fits(known.role), fits(found.role)) {
            (true, false) => {
                let role = found.role.map_or("node", Role::name);
                News::Astray(format!("the address led to a {role}, while others are connected to what is wanted"))
            }
            // There is nothing better; it may be used.
            (false, false) => News::None,
            (true, true) if self.is_former(&found, now) => News::Several,
            (_, true) => self.take_over(found, now),
        }
    }

    /// Takes note why the upstream is of no use, whichever process it is: a name by which callers go is another command.
    pub(crate) fn refuse(&mut self, misnamed: (&'static str, Arc<str>)) {
        self.facts = Arc::new(Facts { misnamed: Some(misnamed), ..Facts::clone(&self.facts) });
    }

    /// Takes in the role that the upstream of this generation has now, and whom it follows, if it says.
    pub(crate) fn learn_role(&mut self, generation: u64, role: Role, primary: Option<Arc<str>>) -> News {
        if self.facts.generation != generation || self.facts.role == Some(role) {
            return News::None;
        }
        let mut facts = Facts::clone(&self.facts);
        facts.role = Some(role);
        facts.primary = primary;
        self.facts = Arc::new(facts);
        News::Changed
    }

    /// Takes in the parameters that the upstream of this generation has now.
    pub(crate) fn learn_config(&mut self, generation: u64, config: &HashMap<String, String>) -> News {
        let mut facts = Facts::clone(&self.facts);
        take_config(&mut facts, config);
        if self.facts.generation != generation || facts == *self.facts {
            return News::None;
        }
        self.facts = Arc::new(facts);
        News::Changed
    }

    fn take_over(&mut self, found: Facts, now: Instant) -> News {
        let known = &self.facts;
        if let Some(run_id) = &known.run_id {
            self.former.push_front((Arc::clone(run_id), now));
            self.former.truncate(FORMER_MAX);
        }
        let is_same = match (&known.run_id, &found.run_id) {
            (Some(known), Some(found)) => known == found,
            (None, None) => known.role == found.role,
            (None, Some(_)) | (Some(_), None) => true,
        };
        let process = if is_same { known.process.clone() } else { Tenure::default() };
        self.facts = Arc::new(Facts { generation: known.generation + 1, process, ..found });
        News::TakenOver
    }

    fn is_former(&self, found: &Facts, now: Instant) -> bool {
        let recent = self.former.iter().filter(|(_, left)| now < *left + FORMER_FOR);
        recent.into_iter().any(|(run_id, _)| Some(run_id) == found.run_id.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Option<Role> = Some(Role::Primary);
    const REPLICA: Option<Role> = Some(Role::Replica);

    fn node(run_id: &str, role: Option<Role>) -> Facts {
        Facts { run_id: (!run_id.is_empty()).then(|| run_id.into()), role, ..Facts::default() }
    }

    /// What becomes of these logins, and the generation then.
    fn after(logins: &[(&str, Option<Role>, bool)]) -> (Vec<News>, u64) {
        let mut knowledge = Knowledge::default();
        let endpoint = Endpoint::tcp("host", 1);
        let mut learn = |(run_id, role, connected): &(&str, _, _)| {
            knowledge.learn(&endpoint, node(run_id, *role), PRIMARY, *connected, Instant::now())
        };
        let news = logins.iter().map(&mut learn).collect();
        (news, knowledge.facts().generation())
    }

    #[test]
    fn another_primary_takes_over_and_a_replica_does_not_while_there_is_a_primary() {
        let (news, generation) = after(&[("a", PRIMARY, false), ("a", PRIMARY, true), ("b", PRIMARY, true)]);
        assert_eq!((news, generation), (vec![News::TakenOver, News::None, News::TakenOver], 2));
        let (news, generation) = after(&[("a", PRIMARY, false), ("b", REPLICA, true)]);
        assert!(matches!(&news[..], [News::TakenOver, News::Astray(_)]) && generation == 1, "{news:?}");
        let (news, _) = after(&[("a", PRIMARY, false), ("b", REPLICA, false), ("c", REPLICA, true)]);
        assert_eq!(news, [News::TakenOver, News::TakenOver, News::None]);
        let (news, generation) = after(&[("a", REPLICA, false), ("b", PRIMARY, true)]);
        assert_eq!((news, generation), (vec![News::TakenOver, News::TakenOver], 2));
    }

    #[test]
    fn the_same_process_is_no_other_whatever_becomes_of_it() {
        let (news, generation) = after(&[("a", PRIMARY, false), ("a", REPLICA, true), ("a", PRIMARY, true)]);
        assert_eq!((news, generation), (vec![News::TakenOver, News::Changed, News::Changed], 1));
    }

    #[test]
    fn a_process_without_a_name_is_told_by_its_role() {
        let (news, generation) = after(&[("", PRIMARY, false), ("", REPLICA, true), ("", PRIMARY, true)]);
        assert_eq!((news, generation), (vec![News::TakenOver, News::Changed, News::TakenOver], 2));
    }

    #[test]
    fn an_address_of_several_primaries_moves_nobody_back_and_forth() {
        let (news, generation) = after(&[("a", PRIMARY, false), ("b", PRIMARY, true), ("a", PRIMARY, true)]);
        assert_eq!((news, generation), (vec![News::TakenOver, News::TakenOver, News::Several], 2));
    }

    #[test]
    fn a_role_counts_for_the_generation_in_which_it_was_asked() {
        let mut knowledge = Knowledge::default();
        let endpoint = Endpoint::tcp("host", 1);
        knowledge.learn(&endpoint, node("a", PRIMARY), PRIMARY, false, Instant::now());
        assert_eq!(knowledge.learn_role(0, Role::Replica, None), News::None);
        assert_eq!(knowledge.learn_role(1, Role::Replica, None), News::Changed);
        assert_eq!(knowledge.facts().role(), REPLICA);
    }

    #[test]
    fn another_endpoint_is_another_upstream() {
        let mut knowledge = Knowledge::default();
        let (one, two) = (Endpoint::tcp("one", 1), Endpoint::tcp("two", 1));
        knowledge.learn(&one, node("a", PRIMARY), PRIMARY, false, Instant::now());
        assert!(knowledge.of(&two).is_none());
        assert_eq!(knowledge.learn(&two, node("b", REPLICA), PRIMARY, true, Instant::now()), News::TakenOver);
        assert_eq!(knowledge.of(&two).map(|facts| facts.generation()), Some(2));
    }

    #[test]
    fn what_is_bound_to_a_process_knows_of_another_one_alone() {
        let (mut knowledge, mut endpoint) = (Knowledge::default(), Endpoint::tcp("host", 1));
        let mut process = |run_id, epoch| {
            endpoint.epoch = epoch;
            knowledge.learn(&endpoint, node(run_id, PRIMARY), PRIMARY, true, Instant::now());
            (knowledge.facts().generation(), knowledge.facts().process.clone())
        };
        let (first, reconnected, other) = (process("a", 0), process("a", 1), process("b", 1));
        assert_eq!((first.0, reconnected.0, other.0), (1, 2, 3));
        assert!(first.1 == reconnected.1 && first.1 != other.1);
    }
}
