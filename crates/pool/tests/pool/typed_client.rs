//! The typed handle and its blocking sister against real upstreams: mini-redis, whose own client checks
//! what arrived, and Redis. Real time, real sockets.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use pool::{ClientError, Endpoint, JobError, Pool, Settings, Value};

use crate::processes::{Embedded, Redis};

fn start(address: SocketAddr) -> Pool {
    Pool::start(Settings { workers: 3, ..Settings::new(Endpoint::tcp("127.0.0.1", address.port())) })
}

/// What both upstreams know.
async fn set_get_publish(pool: &Pool, address: SocketAddr) {
    let mut client = pool.client();
    assert_eq!(client.get("absent").await.unwrap(), None);
    client.set("key", "value", None).await.unwrap();
    assert_eq!(client.get("key").await.unwrap().as_deref(), Some(&b"value"[..]));
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    client.set("binary", &binary, None).await.unwrap();
    assert_eq!(client.get("binary").await.unwrap().as_deref(), Some(&binary[..]));
    client.set("brief", "soon gone", Some(Duration::from_millis(50))).await.unwrap();
    assert_eq!(client.get("brief").await.unwrap().as_deref(), Some(&b"soon gone"[..]));
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(client.get("brief").await.unwrap(), None);

    let mut independent = mini_redis::client::connect(address).await.unwrap();
    assert_eq!(independent.get("key").await.unwrap().as_deref(), Some(&b"value"[..]));
    independent.set("theirs", Bytes::from_static(b"42")).await.unwrap();
    assert_eq!(client.get("theirs").await.unwrap().as_deref(), Some(&b"42"[..]));

    assert_eq!(client.publish("channel", "nobody").await.unwrap(), 0);
    let mut subscriber = independent.subscribe(vec!["channel".into()]).await.unwrap();
    assert_eq!(client.publish("channel", "somebody").await.unwrap(), 1);
    let message = subscriber.next_message().await.unwrap().unwrap();
    assert_eq!((message.channel.as_str(), &message.content[..]), ("channel", &b"somebody"[..]));
}

/// Clones in threads that are not async, each with keys of its own.
fn from_threads(pool: &Pool) {
    let blocking = pool.client().blocking();
    let work = |thread: usize| {
        let mut client = blocking.clone();
        std::thread::spawn(move || {
            for turn in 0..100 {
                let (key, value) = (format!("thread {thread}"), format!("turn {turn}"));
                client.set(&key, &value, None).unwrap();
                assert_eq!(client.get(&key).unwrap().as_deref(), Some(value.as_bytes()));
            }
        })
    };
    let threads: Vec<_> = (0..8).map(work).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_typed_client_on_mini_redis() {
    let upstream = Embedded::start().await;
    let pool = start(upstream.address);
    set_get_publish(&pool, upstream.address).await;
    let unknown = pool.client().command(&["LPUSH", "list", "a"]).await;
    assert!(matches!(&unknown, Err(ClientError::Upstream(text)) if text.contains("unknown command")), "{unknown:?}");
    let pool = tokio::task::spawn_blocking(move || {
        from_threads(&pool);
        pool
    });
    assert_eq!(pool.await.unwrap().drain(Duration::from_secs(5)).await.abandoned, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_typed_client_on_redis() {
    let upstream = Redis::start();
    let pool = start(upstream.address);
    set_get_publish(&pool, upstream.address).await;
    let mut client = pool.client();
    client.ping().await.unwrap();
    assert_eq!(client.incr("number").await.unwrap(), 1);
    assert_eq!(client.incr("number").await.unwrap(), 2);
    assert_eq!(client.del(&["number", "key", "absent"]).await.unwrap(), 2);
    assert_eq!(client.get("number").await.unwrap(), None);

    let pushed = client.command(&["RPUSH", "list", "a", "b"]).await.unwrap();
    assert_eq!(pushed, Value::Integer(2));
    let list = client.command(&["LRANGE", "list", "0", "-1"]).await.unwrap();
    assert_eq!(list, Value::Array(vec![Value::Bulk(Bytes::from_static(b"a")), Value::Bulk(Bytes::from_static(b"b"))]));
    let wrong = client.incr("list").await;
    assert!(matches!(&wrong, Err(ClientError::Upstream(text)) if text.starts_with("WRONGTYPE")), "{wrong:?}");
    let wrong = client.get("list").await;
    assert!(matches!(&wrong, Err(ClientError::Upstream(text)) if text.starts_with("WRONGTYPE")), "{wrong:?}");

    let names = client.command(&["CLIENT", "LIST"]).await.unwrap();
    let names = String::from_utf8_lossy(names.as_bytes().unwrap()).into_owned();
    assert!((1..=3).all(|worker| names.contains(&format!("name=respool-worker-{worker} "))), "{names}");
    let pool = tokio::task::spawn_blocking(move || {
        from_threads(&pool);
        pool
    });
    assert_eq!(pool.await.unwrap().drain(Duration::from_secs(5)).await.abandoned, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_calls_have_all_the_commands() {
    let upstream = Redis::start();
    let pool = start(upstream.address);
    let mut client = pool.client().blocking();
    let thread = std::thread::spawn(move || {
        client.ping().unwrap();
        client.set("a", "1", Some(Duration::from_secs(60))).unwrap();
        assert_eq!(client.get("a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(client.incr("a").unwrap(), 2);
        let expiry = client.command(&["PTTL", "a"]).unwrap();
        assert!(matches!(expiry, Value::Integer(1..=60_000)), "{expiry:?}");
        assert_eq!(client.publish("channel", "nobody").unwrap(), 0);
        assert_eq!(client.del(&["a"]).unwrap(), 1);
    });
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    drop(pool);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_of_the_url_is_the_clients() {
    let upstream = Redis::start();
    let other: Endpoint = format!("redis://{}/5", upstream.address).parse().unwrap();
    let (zero, five) = (start(upstream.address), Pool::start(Settings::new(other)));
    five.client().set("key", "five", None).await.unwrap();
    assert_eq!(zero.client().get("key").await.unwrap(), None);
    let size = zero.client().command(&["INFO", "keyspace"]).await.unwrap();
    assert!(String::from_utf8_lossy(size.as_bytes().unwrap()).contains("db5:keys=1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_an_upstream_that_is_not_there_says_so() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let failed = start(address).client().get("key").await;
    assert!(matches!(failed, Err(ClientError::Job(JobError::UpstreamDown(_)))), "{failed:?}");
}
