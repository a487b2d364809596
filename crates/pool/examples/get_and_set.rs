//! Two tasks send a `GET` and a `SET` through the queue and await their replies. When the last sender
//! is gone the workers end and close their connections, which a door in front of the embedded upstream
//! shows. Needs no set-up: `cargo run -p respool-pool --example get_and_set`.

use std::{fmt, net::SocketAddr, time::Duration};

use anyhow::Context;
use pool::{Burst, Endpoint, Pool, Settings};
use resp::write_request;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

const WORKERS: usize = 2;

/// What the door sees of a connection.
enum Passing {
    Opened(usize),
    Closed(usize),
}

impl fmt::Display for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(number) => write!(f, "upstream sees connection {number} open"),
            Self::Closed(number) => write!(f, "upstream sees connection {number} close"),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let upstream = embedded_upstream().await?;
    let (address, mut door) = open_door(upstream).await?;
    let endpoint = Endpoint::tcp(address.ip().to_string(), address.port());
    let pool = Pool::start(Settings { workers: WORKERS, ..Settings::new(endpoint) });
    for _ in 0..WORKERS {
        println!("{}", door.recv().await.context("the door is open")?);
    }

    // Producers: each has a sender of its own, and its reply comes back by a oneshot. Nothing orders one
    // task after the other, so that GET may well come first.
    let (mut first, mut second) = (pool.caller(), pool.caller());
    let set = tokio::spawn(async move {
        let answer = first.call(request(&["SET", "hello", "world"])).await;
        print_answer("SET hello world", answer);
    });
    let get = tokio::spawn(async move {
        let answer = second.call(request(&["GET", "hello"])).await;
        print_answer("GET hello", answer);
    });
    set.await?;
    get.await?;

    // The same with the typed handle, where the order is plain.
    let mut client = pool.client();
    client.set("hello", "again", None).await?;
    println!("typed GET hello  got {:?}", client.get("hello").await?);

    println!("pool is {:?}, {} jobs queued", pool.status().upstream, pool.status().queued_jobs);
    drop(pool);
    println!("the pool is gone, one client is left: the workers go on");
    println!("typed GET hello  got {:?}", client.get("hello").await?);
    drop(client);
    println!("the last sender is gone: the workers end");
    for _ in 0..WORKERS {
        let passing = timeout(Duration::from_secs(5), door.recv()).await.context("the workers did not end")?;
        println!("{}", passing.context("the door is open")?);
    }
    Ok(())
}

fn request(args: &[&str]) -> Burst {
    let mut burst = Burst { replies_due: 1, ..Default::default() };
    write_request(&mut burst.requests, args);
    burst
}

fn print_answer(request: &str, answer: pool::Answer) {
    match answer.failure {
        None => println!("{request:<16} got {:?}", String::from_utf8_lossy(&answer.burst.replies)),
        Some(failure) => println!("{request:<16} failed: {failure}"),
    }
}

/// A mini-redis in this process; where it listens.
async fn embedded_upstream() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    // It lives as long as the program.
    tokio::spawn(mini_redis::server::run(listener, std::future::pending::<()>()));
    Ok(address)
}

/// Passes connections on to the upstream and tells when each begins and ends.
async fn open_door(upstream: SocketAddr) -> anyhow::Result<(SocketAddr, mpsc::Receiver<Passing>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let (passings, seen) = mpsc::channel(16);
    tokio::spawn(async move {
        for number in 1.. {
            let (near, _) = listener.accept().await?;
            let passings = passings.clone();
            tokio::spawn(pass(number, near, upstream, passings));
        }
        anyhow::Ok(())
    });
    Ok((address, seen))
}

async fn pass(
    number: usize,
    mut near: TcpStream,
    upstream: SocketAddr,
    passings: mpsc::Sender<Passing>,
) -> anyhow::Result<()> {
    let mut far = TcpStream::connect(upstream).await?;
    passings.send(Passing::Opened(number)).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    passings.send(Passing::Closed(number)).await?;
    Ok(())
}
