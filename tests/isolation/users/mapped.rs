//! Users with a login of their own at the upstream: what they send runs with that user's rights and no others, whatever
//! proved who they are, and a reload brings the login up to date.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    operation::tls::{
        certificates::Authority,
        client::{TlsClient, Trust},
    },
    support::{Builder, Client, DEADLINE, Gateway, Redis, requests, users, wait},
};

const OTHER_CONNECTION: &str = "-ERR respool: AUTH and HELLO are not possible while the client has a connection of its \
    own (MULTI, WATCH, SUBSCRIBE, MONITOR, CLIENT TRACKING)\r\n";

const IS_READER: &str = "$6\r\nreader\r\n";

struct Upstream {
    redis: Redis,
    directory: TempDir,
}

impl Upstream {
    fn start() -> Self {
        let (redis, directory) = (Redis::start(&[]), tempfile::tempdir().expect("a temporary directory"));
        let mut direct = redis.client();
        direct.expect("ACL SETUSER ops on >ops ~* &* +@all", "+OK\r\n");
        direct.expect("ACL SETUSER reader on >first ~app:* &news.* -@all +get +blpop +subscribe +acl|whoami +watch +multi +exec +unwatch", "+OK\r\n");
        direct.expect("MSET app:1 one other two", "+OK\r\n");
        let upstream = Self { redis, directory };
        upstream.write("first");
        upstream
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("reader")
    }

    fn write(&self, password: &str) {
        fs::write(self.file(), format!("{password}\n")).expect("written");
    }

    /// A section of a user that is `reader` upstream.
    fn as_reader(&self, user: &str, more: &str) -> String {
        format!("[users.{user}]\nupstream_password_file = \"{}\"\n{more}", self.file().display())
    }

    fn gateway(&self) -> Builder {
        let url = self.redis.url().replace("redis://", "redis://ops:ops@");
        Gateway::builder().upstream(&url).allow_lost_upstream()
    }

    /// In front of it `app` is `reader`, and `root` the gateway's own user.
    fn gateway_with_users(&self) -> Gateway {
        let config = users(&[("app", "a"), ("root", "r")]) + &self.as_reader("app", "upstream_user = \"reader\"");
        self.gateway().config(&config).allow("login refused").start()
    }

    fn direct(&self) -> Client {
        self.redis.client()
    }
}

#[test]
fn a_user_has_the_rights_of_its_login_in_every_state_and_others_have_theirs() {
    let upstream = Upstream::start();
    let gateway = upstream.gateway_with_users();
    let (mut app, mut root) = (gateway.client(), gateway.client());
    app.expect("AUTH app a", "+OK\r\n");
    root.expect("HELLO 2 AUTH root wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert!(root.line("HELLO 2 AUTH root r").starts_with(b"*14\r\n"));
    for _ in 0..3 {
        app.expect("ACL WHOAMI", IS_READER);
        root.expect("ACL WHOAMI", "$3\r\nops\r\n");
        app.expect("GET app:1", "$3\r\none\r\n");
        assert!(app.line("GET other").starts_with(b"-NOPERM"));
        root.expect("GET other", "$3\r\ntwo\r\n");
        assert!(app.line("BLPOP other 0").starts_with(b"-NOPERM"));
        assert!(app.line("SUBSCRIBE other").starts_with(b"-NOPERM"));
        app.send_raw(&requests(&["MULTI", "ACL WHOAMI", "EXEC"]));
        assert_eq!(app.read_replies(3).concat(), b"+OK\r\n+QUEUED\r\n*1\r\n$6\r\nreader\r\n");
        app.expect("WATCH app:1", "+OK\r\n");
        app.expect("ACL WHOAMI", IS_READER);
        // Not with what one user watches in the hands of another.
        app.expect("AUTH root r", OTHER_CONNECTION);
        app.expect("HELLO 3 AUTH root r", OTHER_CONNECTION);
        app.expect("ACL WHOAMI", IS_READER);
        app.expect("MULTI", "+OK\r\n");
        app.expect("AUTH root r", OTHER_CONNECTION);
        assert!(app.line("EXEC").starts_with(b"-EXECABORT"));
    }
    app.expect("AUTH root r", "+OK\r\n");
    app.expect("ACL WHOAMI", "$3\r\nops\r\n");
    app.expect("AUTH app a", "+OK\r\n");
    app.expect("ACL WHOAMI", IS_READER);
    app.expect("RESET", "+RESET\r\n");
    app.expect("GET app:1", "-NOAUTH Authentication required.\r\n");
}

#[test]
fn a_reload_brings_the_login_up_to_date() {
    let upstream = Upstream::start();
    let mut gateway = upstream.gateway_with_users();
    let (mut app, mut direct) = (gateway.client(), upstream.direct());
    app.expect("AUTH app a", "+OK\r\n");
    app.expect("ACL WHOAMI", IS_READER);
    direct.expect("ACL SETUSER reader resetpass >second", "+OK\r\n");
    app.expect("ACL WHOAMI", IS_READER);
    direct.line("CLIENT KILL USER reader");
    wait("it to be refused", || {
        let refused = String::from_utf8_lossy(&app.line("ACL WHOAMI")).into_owned();
        assert!(
            refused.starts_with("-ERR respool: ") && !refused.contains("first") || refused == IS_READER,
            "{refused}"
        );
        refused.contains("WRONGPASS").then_some(())
    });
    upstream.write("second");
    gateway.hang_up();
    gateway.logs().wait_for("configuration in force", DEADLINE);
    app.expect("ACL WHOAMI", IS_READER);
    // It may be the gateway's own user again.
    gateway.forget("users", "app", "upstream_user");
    gateway.forget("users", "app", "upstream_password_file");
    gateway.hang_up();
    wait("the gateway's own user", || (app.line("ACL WHOAMI") == b"$3\r\nops\r\n").then_some(()));
}

#[test]
fn who_asks_about_clients_needs_the_right_of_its_login() {
    let upstream = Upstream::start();
    let gateway = upstream.gateway_with_users();
    let (mut app, mut root) = (gateway.client(), gateway.client());
    app.expect("AUTH app a", "+OK\r\n");
    root.expect("AUTH root r", "+OK\r\n");
    let id = String::from_utf8_lossy(&root.line("CLIENT ID")).trim_matches([':', '\r', '\n']).to_owned();
    for request in ["CLIENT LIST", "CLIENT ID", "CLIENT SETNAME x", "CLIENT NO-EVICT ON", "CLIENT UNBLOCK 1"] {
        let reply = app.line(request);
        assert!(reply.starts_with(b"-NOPERM"), "{request}: {}", String::from_utf8_lossy(&reply));
    }
    assert!(app.line(&format!("CLIENT KILL ID {id}")).starts_with(b"-NOPERM"));
    root.expect("CLIENT SETNAME x", "+OK\r\n");
    // What another is told of a request is not what this one is told.
    let has_reached = root.line("READONLY");
    assert!(!has_reached.starts_with(b"-NOPERM"));
    assert!(app.line("READONLY").starts_with(b"-NOPERM"));
}

#[test]
fn what_needs_a_restart_leaves_a_user_its_login() {
    let upstream = Upstream::start();
    let mut gateway = upstream.gateway_with_users();
    let mut app = gateway.client();
    app.expect("AUTH app a", "+OK\r\n");
    let before = gateway.config_with("");
    gateway.rewrite("[auth]\nmode = \"upstream\"");
    for name in ["app", "root"] {
        gateway.forget("auth", "users", name);
    }
    for key in ["upstream_user", "upstream_password_file"] {
        gateway.forget("users", "app", key);
    }
    gateway.hang_up();
    let line = gateway.logs().wait_for("configuration in force", DEADLINE);
    assert!(line.contains("needs_restart") && line.contains("users: changed app"), "{line}");
    app.expect("ACL WHOAMI", IS_READER);
    let mut another = gateway.client();
    another.expect("AUTH app a", "+OK\r\n");
    another.expect("ACL WHOAMI", IS_READER);
    // Back again, and everything goes by the file.
    gateway.overwrite(&before);
    gateway.hang_up();
    another.expect("ACL WHOAMI", IS_READER);
}

#[test]
fn a_client_with_a_connection_of_its_own_does_not_keep_the_login_before() {
    let upstream = Upstream::start();
    let mut gateway = upstream.gateway_with_users();
    let mut clients = ["WATCH app:1", "SUBSCRIBE news.1", "GET app:1"].map(|request| {
        let mut client = gateway.client();
        client.expect("AUTH app a", "+OK\r\n");
        assert!(!client.line(request).starts_with(b"-"), "{request}");
        client
    });
    for key in ["upstream_user", "upstream_password_file"] {
        gateway.forget("users", "app", key);
    }
    gateway.hang_up();
    let [watches, subscribes, plain] = &mut clients;
    for client in [watches, subscribes] {
        client.expect_closed();
    }
    wait("the gateway's own user", || (plain.line("ACL WHOAMI") == b"$3\r\nops\r\n").then_some(()));
}

#[test]
fn where_nobody_has_to_log_in_all_may_have_a_login() {
    let upstream = Upstream::start();
    let config = upstream.as_reader("default", "upstream_user = \"reader\"");
    let gateway = upstream.gateway().config(&config).start();
    let mut client = gateway.client();
    client.expect("ACL WHOAMI", IS_READER);
    client.expect("RESET", "+RESET\r\n");
    client.expect("ACL WHOAMI", IS_READER);
    client.expect("AUTH default any", "+OK\r\n");
    client.expect("ACL WHOAMI", IS_READER);
}

fn upstream_decides(upstream: &Upstream, listen: &str, more: &str) -> Gateway {
    let config = format!("{listen}\n[auth]\nmode = \"upstream\"\n{more}\n{}", upstream.as_reader("reader", ""));
    upstream.gateway().config(&config).start()
}

#[test]
fn where_the_upstream_decides_a_process_is_the_user_that_its_system_user_stands_for() {
    let upstream = Upstream::start();
    let path = upstream.directory.path().join("r.sock");
    let own = fs::metadata(upstream.directory.path()).expect("it is there").uid();
    let listen = format!("listen = [\"unix:{}\", \"127.0.0.1:0\"]", path.display());
    upstream.direct().expect("ACL SETUSER default off", "+OK\r\n");
    let mut gateway = upstream_decides(&upstream, &listen, &format!("peers = [\"{own}:reader\"]"));
    let mut peer = connect(&path);
    peer.expect("ACL WHOAMI", IS_READER);
    assert!(peer.line("GET other").starts_with(b"-NOPERM"));
    assert!(peer.line("CLIENT LIST").starts_with(b"-NOPERM"));
    peer.expect("AUTH ops ops", "+OK\r\n");
    peer.expect("ACL WHOAMI", "$3\r\nops\r\n");
    gateway.client().expect("GET app:1", "-NOAUTH Authentication required.\r\n");
    // Its user is proven no more: it is closed, and one that knows the password stays.
    let (mut peer, mut knows) = (connect(&path), connect(&path));
    peer.expect("ACL WHOAMI", IS_READER);
    knows.expect("AUTH reader first", "+OK\r\n");
    let admits = gateway.config_with("");
    gateway.forget("users", "reader", "upstream_password_file");
    gateway.rewrite("[auth]\npeers = []");
    gateway.hang_up();
    peer.expect_closed();
    knows.expect("ACL WHOAMI", IS_READER);
    gateway.overwrite(&admits);
    gateway.hang_up();
    knows.expect("ACL WHOAMI", IS_READER);
    wait("to be admitted again", || (connect(&path).line("ACL WHOAMI") == IS_READER.as_bytes()).then_some(()));
    // Its user is deleted: it is closed, as it would be by Redis.
    let mut peer = connect(&path);
    peer.expect("ACL WHOAMI", IS_READER);
    let mut ops = upstream.direct();
    ops.expect("AUTH ops ops", "+OK\r\n");
    ops.expect("ACL DELUSER reader", ":1\r\n");
    wait("its end", || peer.try_line("ACL WHOAMI").is_err().then_some(()));
}

fn connect(path: &Path) -> Client {
    Client::try_connect_unix(path).expect("connects")
}

#[test]
fn where_the_upstream_decides_a_client_is_the_user_that_its_certificate_names() {
    let (upstream, authority) = (Upstream::start(), Authority::new());
    upstream.direct().expect("ACL SETUSER default off", "+OK\r\n");
    let pair = authority.issue(&["127.0.0.1", "localhost"]);
    let more = format!(
        "[tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\nclient_ca_file = \"{}\"\nclient_auth = \"optional\"\n\
         user_from_certificate = \"CN\"",
        pair.cert.display(),
        pair.key.display(),
        authority.file().display()
    );
    let gateway = upstream_decides(&upstream, "listen = [\"127.0.0.1:0\", \"tls://127.0.0.1:0\"]", &more);
    let connect = |name: &str| {
        TlsClient::connect(gateway.addresses()[1], &Trust::new(&authority, Some(&authority.issue(&[name]))))
    };
    connect("reader").expect("ACL WHOAMI", IS_READER);
    // Who has no password here proves nothing by a certificate.
    let mut ops = connect("ops");
    ops.expect("ACL WHOAMI", "-NOAUTH Authentication required.\r\n");
    ops.expect("AUTH ops ops", "+OK\r\n");
    ops.expect("ACL WHOAMI", "$3\r\nops\r\n");
}
