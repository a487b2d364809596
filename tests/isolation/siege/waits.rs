//! How much longer others wait because of one client, through the gateway and beside it: `./tests/run siege`.

use std::{
    env,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{attacks::Attack, besieged, strike};
use crate::support::{Client, pass, raise_descriptor_limit, requests};

/// What others may wait longer than beside Redis alone.
const ALLOWED: Duration = Duration::from_millis(100);

/// Those who work meanwhile.
const OTHERS: usize = 8;

/// Clients that ask for the same at once, where it is a crowd.
const CROWD: usize = 200;

/// One who works, and knows each reply. The longest that one took, the login too.
fn work(address: SocketAddr, number: usize, over: &AtomicBool) -> Duration {
    let mut sent = Instant::now();
    let mut client = Client::connect(address);
    client.expect("AUTH app secret", "+OK\r\n");
    let counter = format!("wait:{number}");
    client.line(&format!("DEL {counter}"));
    let (mut count, mut longest) = (0_u64, sent.elapsed());
    while !over.load(Ordering::Relaxed) {
        count += 1;
        sent = Instant::now();
        client.expect(&format!("INCR {counter}"), &format!(":{count}\r\n"));
        longest = longest.max(sent.elapsed());
        pass(Duration::from_millis(1));
    }
    longest
}

/// The longest that others wait at `address` for `time`, while `attack` is played there, if any: again and again by one, or
/// once by each of so many.
fn longest_wait(address: SocketAddr, attack: Option<(&Attack, usize)>, time: Duration) -> Duration {
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let others: Vec<_> = (0..OTHERS).map(|number| scope.spawn(move || work(address, number, over))).collect();
        let (ends, mut held) = (Instant::now() + time, Vec::new());
        while Instant::now() < ends {
            if let Some((attack, count)) = attack
                && (count == 1 || held.is_empty())
            {
                held.extend((0..count).filter_map(|_| strike(address, attack)));
                held.drain(..held.len().saturating_sub(count.max(4)));
            }
            pass(Duration::from_millis(50));
        }
        drop(held);
        over.store(true, Ordering::Relaxed);
        others.into_iter().map(|other| other.join().expect("every reply is right")).max().unwrap_or_default()
    })
}

/// What the crowd asks for.
fn crowd() -> Attack {
    let request = ["MGET"].into_iter().chain(["large"; 20]).collect::<Vec<_>>().join(" ");
    Attack { name: "10 MiB to each of 200 at once", bytes: requests(&[&request]), logged_in: true }
}

#[test]
#[ignore = "takes some minutes, by ./tests/run siege"]
fn waits() {
    raise_descriptor_limit();
    let (redis, gateway) = besieged();
    let only = env::var("RESPOOL_SIEGE_ATTACK").unwrap_or_default();
    let crowd = crowd();
    let attacks = super::attacks::all();
    let attacks = attacks.iter().map(|attack| (attack, 1)).chain([(&crowd, CROWD)]);
    let mut exceeded = Vec::new();
    let (calm, time) = (Duration::from_millis(500), Duration::from_millis(1500));
    println!("the longest wait of {OTHERS} others, in ms: beside Redis alone, through the gateway; how much longer");
    println!("{:>44}  {:>7} {:>7}  {:>7} {:>7}  {:>7}", "", "calm", "attack", "calm", "attack", "longer");
    for (attack, count) in attacks.filter(|(attack, _)| attack.name.contains(&only)) {
        // What is odd by chance on a busy machine is not so three times.
        let mut least = Duration::MAX;
        for _ in 0..3 {
            let [direct, through] = [redis.address(), gateway.address()]
                .map(|address| [longest_wait(address, None, calm), longest_wait(address, Some((attack, count)), time)]);
            let [without, beside] = [direct, through].map(|[calm, attacked]| attacked.saturating_sub(calm));
            let longer = beside.saturating_sub(without);
            let ms = |wait: Duration| format!("{:.1}", wait.as_secs_f64() * 1000.0);
            println!(
                "{:>44}  {:>7} {:>7}  {:>7} {:>7}  {:>7}",
                attack.name,
                ms(direct[0]),
                ms(direct[1]),
                ms(through[0]),
                ms(through[1]),
                ms(longer)
            );
            least = least.min(longer);
            if least <= ALLOWED {
                break;
            }
        }
        if least > ALLOWED {
            exceeded.push(attack.name);
        }
    }
    println!("others wait more than {ALLOWED:?} longer than beside Redis alone for: {exceeded:?}");
}
