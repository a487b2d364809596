//! What the console and `CLIENT LIST` show of clients and pool, and under which names.

use std::collections::BTreeMap;

use resp::Value;

use crate::support::{Client, Gateway, Redis, get, wait};

/// The rows of a table of the console: names and values in the order shown.
#[track_caller]
fn rows(client: &mut Client, line: &str) -> Vec<Vec<(String, Value)>> {
    let reply = client.line(line);
    let (value, _) = Value::decode(&reply.into()).expect("a reply");
    let Value::Array(rows) = value else { panic!("{line}: {value:?}") };
    let text = |value: &Value| String::from_utf8_lossy(value.as_bytes().expect("a name")).into_owned();
    let row = |row: &Value| match row {
        Value::Array(cells) => cells.chunks(2).map(|pair| (text(&pair[0]), pair[1].clone())).collect(),
        other => panic!("{line}: {other:?}"),
    };
    rows.iter().map(row).collect()
}

fn names(row: &[(String, Value)]) -> Vec<&str> {
    row.iter().map(|(name, _)| name.as_str()).collect()
}

#[track_caller]
fn cell<'r>(row: &'r [(String, Value)], name: &str) -> &'r Value {
    &row.iter().find(|(column, _)| column == name).unwrap_or_else(|| panic!("no {name} in {row:?}")).1
}

/// The fields of each line of `CLIENT LIST` or `CLIENT INFO`.
fn lines(reply: &[u8]) -> Vec<BTreeMap<String, String>> {
    let text = String::from_utf8_lossy(reply).into_owned();
    let fields = |line: &str| {
        line.split(' ')
            .filter_map(|field| field.split_once('='))
            .map(|(key, value)| (key.into(), value.into()))
            .collect()
    };
    text.lines().filter(|line| line.contains("addr=")).map(fields).collect()
}

#[test]
fn clients_are_listed_with_their_users() {
    // Passwords: "one" for each.
    let digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let redis = Redis::start(&[]);
    let users = format!("[auth.users]\ndefault = \"{digest}\"\napp = \"{digest}\"\nbatch = \"{digest}\"");
    let gateway = Gateway::builder().upstream(&redis.url()).config(&users).start();
    let (mut app, mut batch, mut default) = (gateway.client(), gateway.client(), gateway.client());
    let _nobody = gateway.client();
    app.expect("AUTH app one", "+OK\r\n");
    assert!(batch.line("HELLO 2 AUTH batch one").starts_with(b"*"));
    default.expect("AUTH one", "+OK\r\n");
    let listed = wait("four clients", || {
        let listed = lines(&app.line("CLIENT LIST"));
        (listed.len() == 4).then_some(listed)
    });
    let users: Vec<_> = listed.iter().map(|line| line["user"].as_str()).collect();
    assert_eq!(users, ["app", "batch", "default", "default"], "as in Redis, who has not logged in is the default user");
    assert_eq!(lines(&batch.line("CLIENT INFO"))[0]["user"], "batch");
    // One who becomes another is shown as such at once.
    batch.expect("AUTH app one", "+OK\r\n");
    assert_eq!(lines(&batch.line("CLIENT INFO"))[0]["user"], "app");
    app.expect("CLIENT KILL USER batch", ":0\r\n");
    app.expect("CLIENT KILL USER app", ":1\r\n");
    batch.expect_closed();
    app.expect("PING", "+PONG\r\n");
}

#[test]
fn tables_have_the_names_of_pgbouncer_where_it_has_the_like() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut client, mut blocked) = (gateway.client(), gateway.client());
    client.expect("CLIENT SETNAME console", "+OK\r\n");
    client.expect("GET k", "$-1\r\n");
    blocked.send(&["BLPOP", "nothing", "0"]);
    let pools = wait("the client to be blocked", || {
        let pools = rows(&mut client, "RESPOOL POOLS");
        (*cell(&pools[0], "exclusive_blocking") == Value::Integer(1)).then_some(pools)
    });
    let wanted = ["cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_login", "maxwait", "maxwait_us"];
    assert_eq!(pools.len(), 1);
    let found: Vec<_> = names(&pools[0]).into_iter().filter(|name| wanted.contains(name)).collect();
    assert_eq!(found, wanted, "in PgBouncer's order");
    assert_eq!(*cell(&pools[0], "cl_active"), Value::Integer(1), "an exclusive connection serves it");
    let clients = rows(&mut client, "RESPOOL CLIENTS");
    let wanted = ["user", "database", "state", "addr", "port", "wait", "wait_us", "application_name", "id"];
    let found: Vec<_> = names(&clients[0]).into_iter().filter(|name| wanted.contains(name)).collect();
    assert_eq!(found, wanted, "in PgBouncer's order");
    assert_eq!(cell(&clients[0], "application_name").as_bytes(), Some(&b"console"[..]));
    assert_eq!(cell(&clients[0], "addr").as_bytes(), Some(&b"127.0.0.1"[..]));
    assert_eq!(cell(&clients[1], "state").as_bytes(), Some(&b"active"[..]));
    let workers = rows(&mut client, "RESPOOL WORKERS");
    let states = ["active", "idle", "login"];
    let state =
        |row: &[(String, Value)]| String::from_utf8_lossy(cell(row, "state").as_bytes().expect("text")).into_owned();
    assert!(workers.len() == 4 && workers.iter().all(|row| states.contains(&state(row).as_str())), "{workers:?}");
}

/// The keys of every map in a reply, map by map.
fn keys_of_maps(value: &Value, maps: &mut Vec<Vec<String>>) {
    match value {
        Value::Map(pairs) => {
            let key = |key: &Value| String::from_utf8_lossy(key.as_bytes().expect("a name")).into_owned();
            maps.push(pairs.iter().map(|(name, _)| key(name)).collect());
            pairs.iter().for_each(|(_, value)| keys_of_maps(value, maps));
        }
        Value::Array(items) | Value::Set(items) => items.iter().for_each(|item| keys_of_maps(item, maps)),
        _ => {}
    }
}

#[test]
fn no_table_or_page_has_a_name_twice() {
    let redis = Redis::start(&[]);
    let config = "[slowlog]\nthreshold_us = 1";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).metrics().allow("paused").start();
    let mut client = gateway.client();
    assert!(client.line("HELLO 3").starts_with(b"%"));
    client.expect("PING", "+PONG\r\n");
    for line in [
        "HELLO 3",
        "RESPOOL POOLS",
        "RESPOOL CLIENTS",
        "RESPOOL WORKERS",
        "RESPOOL STATS",
        "RESPOOL CONFIG GET *",
        "RESPOOL CONFIG SET pool.workers 3",
        "RESPOOL RELOAD",
        "RESPOOL SLOWLOG GET",
        "RESPOOL PAUSE",
    ] {
        let (value, _) = Value::decode(&client.line(line).into()).expect("a reply");
        let mut maps = Vec::new();
        keys_of_maps(&value, &mut maps);
        assert!(!maps.is_empty(), "{line}: {value:?}");
        for mut keys in maps {
            keys.sort();
            let count = keys.len();
            keys.dedup();
            assert_eq!(keys.len(), count, "{line}: {keys:?}");
        }
    }
    let info = String::from_utf8_lossy(&client.line("INFO respool")).into_owned();
    let mut fields: Vec<&str> = info.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    fields.sort_unstable();
    let count = fields.len();
    fields.dedup();
    assert_eq!(fields.len(), count, "{info}");
    let (_, page) = get(gateway.metrics_address(), "/metrics");
    let mut series: Vec<&str> = page.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    series.sort_unstable();
    let twice: Vec<_> = series.windows(2).filter(|pair| pair[0] == pair[1] && !pair[0].starts_with('#')).collect();
    assert!(twice.is_empty(), "{twice:?}");
    client.expect("RESPOOL RESUME", "+OK\r\n");
}

#[test]
fn a_worker_has_one_number_in_the_log_the_console_and_the_upstream() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 3\n[log]\nfilter = \"debug\"";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    let opened = |client: &mut Client| -> Vec<(String, Value)> {
        let rows = rows(client, "RESPOOL WORKERS");
        rows.iter()
            .map(|row| {
                let name = String::from_utf8_lossy(cell(row, "name").as_bytes().expect("a name")).into_owned();
                (name, cell(row, "opened").clone())
            })
            .collect()
    };
    let first = wait("three workers", || {
        let opened = opened(&mut client);
        opened.iter().all(|(_, count)| *count == Value::Integer(1)).then_some(opened)
    });
    assert_eq!(
        first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["respool-worker-1", "respool-worker-2", "respool-worker-3"]
    );
    let listed = String::from_utf8_lossy(&direct.line("CLIENT LIST")).into_owned();
    let line = listed.lines().find(|line| line.contains("name=respool-worker-2")).expect("it is named there");
    let id = line.split(' ').find_map(|field| field.strip_prefix("id=")).expect("an id");
    direct.expect(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    let line = gateway.logs().wait_for("idle connection ended", crate::support::DEADLINE);
    assert!(line.contains("\"worker\":2,"), "{line}");
    wait("the second worker to come back", || {
        let now = opened(&mut client);
        (now[1] == ("respool-worker-2".to_owned(), Value::Integer(2))).then_some(())
    });
    wait("the log to tell of it", || {
        let lines = gateway.logs().lines();
        let connected = lines.iter().rfind(|line| line.contains("\"connected\""))?;
        connected.contains("\"worker\":2,").then_some(())
    });
}
