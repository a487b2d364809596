//! A further login whose pool follows an upstream that goes elsewhere, with real Redis processes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pool::{At, Endpoint, Key, Login, Needs, Pools};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};

use crate::{
    processes::Redis,
    upstream::{burst, replies, settings},
};

const LIMIT: Duration = Duration::from_secs(5);

/// A Redis that knows `ann`.
async fn upstream() -> Redis {
    let redis = Redis::start();
    let mut client = TcpStream::connect(redis.address).await.unwrap();
    client.write_all(b"ACL SETUSER ann on >secret ~* +@all\r\n").await.unwrap();
    let mut reply = [0; 5];
    client.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"+OK\r\n");
    redis
}

/// The way to a node that only `ann` gets through until it `opens`. Tells of each of the others who comes.
async fn gate(node: SocketAddr, opens: Arc<Notify>) -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (come, coming)) = (listener.local_addr().unwrap(), mpsc::channel(64));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (opens, come) = (Arc::clone(&opens), come.clone());
            tokio::spawn(async move {
                let mut first = vec![0; 4096];
                let Ok(length) = client.read(&mut first).await else { return };
                let opened = opens.notified();
                if !first[..length].windows(3).any(|part| part == b"ann") {
                    let _ = come.try_send(());
                    opened.await;
                }
                let Ok(mut upstream) = TcpStream::connect(node).await else { return };
                let _ = upstream.write_all(&first[..length]).await;
                let _ = copy_bidirectional(&mut client, &mut upstream).await;
            });
        }
    });
    (address, coming)
}

#[tokio::test]
async fn what_is_lent_while_the_upstream_is_becoming_known_is_not_taken_for_a_connection_to_the_former_one() {
    lend_while(|pools, port| drop(pools.go("127.0.0.1", port))).await;
}

#[tokio::test]
async fn nor_is_it_where_a_configuration_names_another_upstream() {
    let other = |port| pool::Settings { connect_timeout: LIMIT, ..settings(Endpoint::tcp("127.0.0.1", port)) };
    lend_while(|pools, port| pools.reconfigure(other(port))).await;
}

/// Has the upstream be elsewhere, as `goes` does it, and lends a connection before the pool that asks knows of it.
async fn lend_while(goes: impl FnOnce(&Pools, u16)) {
    let (former, next, opens) = (upstream().await, upstream().await, Arc::new(Notify::new()));
    let (at, mut others) = gate(next.address, Arc::clone(&opens)).await;
    let endpoint = Endpoint::tcp("127.0.0.1", former.address.port());
    let pools = Pools::start_on(&[Handle::current()], pool::Settings { connect_timeout: LIMIT, ..settings(endpoint) });
    let ann = Key { at: At::Upstream, login: Login::User { name: Some("ann".into()), password: "secret".into() } };
    let mut ann = pools.find(&ann).unwrap().caller_on(0);
    assert_eq!(replies(ann.call(burst(&["ACL", "WHOAMI"])).await), "$3\r\nann\r\n");
    let before = pools.first().facts().generation();
    goes(&pools, at.port());
    timeout(LIMIT, others.recv()).await.expect("the pool that asks comes").unwrap();
    let mut lending = std::pin::pin!(ann.lend(Instant::now(), Needs::default()));
    // It may be lent before the other pool knows whose it is, or after that.
    let lent = timeout(Duration::from_millis(100), &mut lending).await;
    opens.notify_waiters();
    let mut lent = match lent {
        Ok(lent) => lent.unwrap(),
        Err(_) => timeout(LIMIT, lending).await.unwrap().unwrap(),
    };
    let is_known = || pools.first().facts().generation() > before;
    timeout(LIMIT, async {
        while !is_known() {
            tokio::task::yield_now().await
        }
    })
    .await
    .expect("it is known");
    let mut reply = Vec::new();
    lent.ask(b"*2\r\n$3\r\nACL\r\n$6\r\nWHOAMI\r\n", LIMIT, &mut reply).await.expect("it leads where the upstream is");
    assert_eq!(reply, b"$3\r\nann\r\n");
}
