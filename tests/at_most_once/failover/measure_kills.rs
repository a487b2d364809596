//! What kills of each role cost 50 verified clients, in figures, as `docs/failover.md` has them: of the primary, of a replica and
//! of a sentinel at the same time, each on a service of its own. Takes minutes; run by `./tests/run failover`.

use std::{
    any::Any,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{
    load::{Clients, Load, more_load, under_load_of},
    measure::{CLIENTS, gateway},
    service::Service,
};

/// Kills of one service, and services one after another: the load writes a new key each time, and a replica that comes
/// back has to copy all of them.
const KILLS: usize = 5;
const SERVICES: usize = 10;

/// Of the roles one at a time has its load in full.
static FULL_LOAD: Mutex<()> = Mutex::new(());

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Primary,
    Replica,
    Sentinel,
}

/// What the kills of one role came to.
#[derive(Default)]
struct Sum {
    writes: usize,
    lost: usize,
    errors: usize,
    /// Services that failed, and why.
    failed: Vec<String>,
}

impl Role {
    /// Kills one node or sentinel after another, and has each come back. The load is in full before each kill, and goes
    /// slowly otherwise, so that there is less to copy, and sentinels have the time that they need.
    fn kill(self, service: &mut Service, load: &Load) {
        load.slow_down(true);
        for kill in 0..KILLS {
            let primary = service.primary(&[0, 1, 2]);
            {
                let _turn = FULL_LOAD.lock().unwrap_or_else(PoisonError::into_inner);
                load.slow_down(false);
                more_load(load, 10);
                match self {
                    Self::Primary => service.nodes[primary].kill9(),
                    Self::Replica => service.nodes[(primary + 1 + kill % 2) % 3].kill9(),
                    Self::Sentinel => service.sentinels[kill % 3].kill9(),
                }
                load.slow_down(true);
            }
            more_load(load, 2);
            match self {
                Self::Primary => service.rejoin(primary, service.primary_but(primary)),
                Self::Replica => service.rejoin((primary + 1 + kill % 2) % 3, primary),
                Self::Sentinel => service.sentinels[kill % 3].restart(),
            }
            service.wait_until_ready();
        }
    }

    /// The kills of one service.
    fn trial(self) -> Sum {
        let mut service = Service::start_with(&[], Duration::from_secs(3));
        let gateway = gateway(&service);
        let clients = Clients { number: CLIENTS, pipelines: true };
        let told = under_load_of(clients, &gateway, |load| self.kill(&mut service, load));
        // Fails if any was executed twice; that no reply was wrong the clients have seen.
        told.assert_not_doubled();
        told.assert_only_sent_failed();
        let primary = service.primary(&[0, 1, 2]);
        let lost = told.lost(&mut service.direct(primary)).len() + told.counts_lost();
        assert!(self == Self::Primary || lost == 0, "{lost} writes are lost, and no primary was");
        Sum { writes: told.writes.len(), lost, errors: told.errors.len(), failed: Vec::new() }
    }

    /// One service after another. One that fails keeps none of the later ones from its turn.
    fn trials(self) -> Sum {
        let mut sum = Sum::default();
        for number in 1..=SERVICES {
            match thread::spawn(move || self.trial()).join() {
                Ok(one) => {
                    sum.writes += one.writes;
                    sum.lost += one.lost;
                    sum.errors += one.errors;
                }
                Err(panic) => sum.failed.push(format!("{self:?}, service {number} of {SERVICES}: {}", words(&*panic))),
            }
        }
        sum
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

#[test]
#[ignore = "takes minutes, by ./tests/run failover"]
fn measure_kills_of_each_role() {
    let roles = [Role::Primary, Role::Replica, Role::Sentinel];
    let threads = roles.map(|role| (role, thread::spawn(move || role.trials())));
    let sums = threads.map(|(role, thread)| (role, thread.join().expect("it takes what fails")));
    println!(
        "\n| killed {} times | acknowledged writes | lost | errors | services that failed |\n|---|---|---|---|---|",
        KILLS * SERVICES
    );
    for (role, sum) in &sums {
        println!("| {role:?} | {} | {} | {} | {} |", sum.writes, sum.lost, sum.errors, sum.failed.len());
    }
    let failed: Vec<_> = sums.into_iter().flat_map(|(_, sum)| sum.failed).collect();
    assert!(failed.is_empty(), "{} services failed:\n{}", failed.len(), failed.join("\n"));
}
