//! A policy and a clock, told what sentinels and nodes say in few words.

use std::time::{Duration, Instant};

use topology::{Address, Event, Message, Named, Patience, Peer, Policy, Role, Topology};

/// Three sentinels, `s1` to `s3`, and nodes named by letters.
pub struct Told {
    pub policy: Policy,
    pub now: Instant,
}

pub fn sentinel(number: u16) -> Address {
    Address::new(format!("s{number}"), 26379)
}

pub fn node(name: &str) -> Address {
    Address::new(name, 6379)
}

pub fn primary() -> Role {
    Role::Primary { offset: 100, replicas: Vec::new() }
}

pub fn replica_of(name: &str) -> Role {
    Role::Replica { primary: node(name), linked: true, offset: Some(90) }
}

impl Told {
    pub fn sentinels() -> Self {
        let patience = Patience::within(Duration::from_secs(5));
        Self { policy: Policy::sentinels((1..=3).map(sentinel), patience), now: Instant::now() }
    }

    pub fn single(name: &str) -> Self {
        let patience = Patience::within(Duration::from_secs(5));
        Self { policy: Policy::single(node(name), Vec::new(), patience), now: Instant::now() }
    }

    /// All sentinels name `a` with epoch 4; `b` and `c` are its replicas.
    pub fn settled() -> Self {
        let mut told = Self::sentinels();
        (1..=3).for_each(|number| told.named(number, "a", 4));
        told.role("a", primary());
        told.role("b", replica_of("a"));
        told.role("c", replica_of("a"));
        told.serves("a");
        told
    }

    pub fn on(&mut self, event: Event) {
        self.now += Duration::from_millis(1);
        self.policy.on(event, self.now);
    }

    pub fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(deadline) = self.policy.deadline(self.now).filter(|deadline| *deadline <= until) {
            self.now = deadline;
            self.policy.on(Event::Tick, self.now);
        }
        self.now = until;
        self.policy.on(Event::Tick, self.now);
    }

    pub fn answer(&mut self, number: u16, asked: Instant, named: Named, peers: Vec<Peer>) {
        let replicas = ["a", "b", "c"].map(node).into_iter().filter(|node| *node != named.primary).collect();
        let (sentinel, id) = (sentinel(number), format!("id{number}"));
        self.on(Event::Answered { sentinel, asked, id, named, replicas, peers });
    }

    pub fn named(&mut self, number: u16, name: &str, epoch: u64) {
        let asked = self.now;
        self.answer(number, asked, Named { primary: node(name), epoch, failing_over: false }, Vec::new());
    }

    pub fn failing_over(&mut self, number: u16, name: &str, epoch: u64) {
        let asked = self.now;
        self.answer(number, asked, Named { primary: node(name), epoch, failing_over: true }, Vec::new());
    }

    pub fn heard(&mut self, number: u16, message: Message) {
        self.on(Event::Heard { sentinel: sentinel(number), message });
    }

    pub fn begun(&mut self, number: u16, name: &str) {
        self.heard(number, Message::Begun { primary: node(name) });
    }

    pub fn selected(&mut self, number: u16, name: &str) {
        self.heard(number, Message::Selected { replica: node(name) });
    }

    pub fn silent(&mut self, number: u16) {
        self.on(Event::Silent { sentinel: sentinel(number) });
    }

    pub fn role(&mut self, name: &str, role: Role) {
        self.on(Event::Role { node: node(name), role, asked: self.now, history: None });
    }

    pub fn gone(&mut self, name: &str) {
        self.on(Event::Gone { node: node(name) });
    }

    pub fn topology(&self) -> &Topology {
        self.policy.topology()
    }

    /// Writes go to `name` at once.
    #[track_caller]
    pub fn serves(&self, name: &str) {
        let topology = self.topology();
        assert_eq!((topology.primary.as_ref(), &topology.awaited), (Some(&node(name)), &None), "{topology:?}");
    }

    /// Writes wait.
    #[track_caller]
    pub fn holds(&self) {
        assert!(self.topology().awaited.is_some(), "{:?}", self.topology());
    }
}
