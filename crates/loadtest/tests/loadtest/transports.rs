//! TLS and unix sockets: loads are as right over them as over TCP, and who is not to be trusted is refused.

use std::process::Command;

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::{Load, LoadError, Until},
    system::{System, Wanted, certificates::Certificates, peers},
    target::{Target, TargetError, TlsArgs, Transport},
};
use tempfile::TempDir;

/// A Redis with all doors.
async fn redis() -> (TempDir, System) {
    let directory = tempfile::tempdir().unwrap();
    let wanted = Wanted::new(&[Transport::Tls, Transport::Unix], directory.path(), false).unwrap();
    let redis = peers::redis(directory.path(), &wanted).await.unwrap();
    (directory, redis)
}

fn load(target: Target) -> Load {
    let mut load = Load::new(target);
    load.mix = "get:4,set:4,incr,mget,lpush,lrange,transaction,blocking".parse().unwrap();
    (load.verify, load.pipeline, load.until) = (true, 16, Until::Count(4_000));
    load.connections = 10;
    load
}

#[tokio::test]
async fn loads_are_right_over_every_transport() {
    let (_directory, redis) = redis().await;
    for transport in [Transport::Tcp, Transport::Tls, Transport::Unix] {
        let mut load = load(redis.over(transport).unwrap().clone());
        load.fill = true;
        // Values beyond one record of TLS, and more at a time than a socket takes.
        load.sizes = "44-100000".parse().unwrap();
        load.reconnect_every = Some(100);
        let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
        assert_eq!((outcome.operations, outcome.exit_code()), (4_000, 0), "{transport:?}: {:?}", outcome.counts);
        assert!(outcome.counts.reconnects > 20 && outcome.received_per_s > 0.0);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_unless_any_will_do() {
    let (directory, redis) = redis().await;
    let secure = redis.over(Transport::Tls).unwrap().clone();
    let refused = async |args: &TlsArgs| {
        let load = load(secure.clone().with_tls(args).unwrap());
        match drive(&load, &Interrupt::never(), |_| {}).await {
            Err(LoadError::Target(TargetError::Handshake(_, error))) => Some(error.to_string()),
            Err(other) => panic!("{other}"),
            Ok(outcome) => {
                assert_eq!(outcome.exit_code(), 0);
                None
            }
        }
    };
    assert!(refused(&TlsArgs::default()).await.unwrap().contains("an authority that is not trusted here"));
    let elsewhere = directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let others = Certificates::make(&elsewhere).unwrap();
    assert!(refused(&others.trusted(false)).await.unwrap().contains("an authority that is not trusted here"));
    assert_eq!(refused(&TlsArgs { insecure: true, ..TlsArgs::default() }).await, None);
    let identity =
        TlsArgs { cert_file: Some(others.cert), key_file: Some(others.key), insecure: true, ..TlsArgs::default() };
    assert_eq!(refused(&identity).await, None);
}

#[tokio::test]
async fn a_target_without_tls_is_named_and_a_file_that_is_none_too() {
    let (directory, redis) = redis().await;
    let output = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
        let output = command.args(["run", "--requests", "100"]).args(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let plain = format!("rediss://127.0.0.1:{}", redis.target.port().unwrap());
    // Redis waits for the end of what it takes for an inline request.
    let (code, text) = output(&["--insecure", "--connect-timeout-ms", "500", "--target", &plain]);
    assert!(code == 69 && text.contains("did not answer within 500ms: does it speak TLS?"), "{code} {text}");
    let none = directory.path().join("none.pem");
    std::fs::write(&none, "nothing").unwrap();
    let (code, text) = output(&["--ca-file", none.to_str().unwrap(), "--target", &plain]);
    assert!(code == 64 && text.contains("none.pem holds no certificate in PEM format"), "{code} {text}");
    let socket = redis.over(Transport::Unix).unwrap().to_string();
    assert_eq!(output(&["--target", &format!("{socket}?db=3"), "--clean"]).0, 0);
}
