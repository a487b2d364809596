//! `reload = "watch"`: whatever way the configuration file is changed, what is in it is put in force as by
//! SIGHUP, and a bad or half-written file changes nothing.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::Path,
};

use crate::support::{Client, DEADLINE, Gateway, Redis, wait};

fn watching(redis: &Redis) -> Gateway {
    Gateway::builder()
        .upstream(&redis.url())
        .config("reload = \"watch\"")
        .allow("configuration refused")
        .allow("configuration file is empty")
        .start()
}

/// Waits until a number is in force.
#[track_caller]
fn wait_for(client: &mut Client, key: &str, value: usize) {
    let text = value.to_string();
    let shown = format!("*2\r\n${}\r\n{key}\r\n${}\r\n{text}\r\n", key.len(), text.len());
    wait(&format!("{key} = {value}"), || {
        (client.line(&format!("RESPOOL CONFIG GET {key}")) == shown.as_bytes()).then_some(())
    });
}

fn workers(gateway: &Gateway, workers: usize) -> String {
    gateway.config_with(&format!("[pool]\nworkers = {workers}"))
}

/// As editors do it: the new file is written beside the old one and takes its name.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("written");
    fs::rename(&beside, path).expect("renamed");
}

#[test]
fn a_watched_file_may_be_written_replaced_or_linked_anew() {
    let redis = Redis::start(&[]);
    let gateway = watching(&redis);
    let (path, mut client) = (gateway.config_path(), gateway.client());
    fs::write(&path, workers(&gateway, 5)).expect("written");
    wait_for(&mut client, "pool.workers", 5);
    for number in [6, 7] {
        replace(&path, &workers(&gateway, number));
        wait_for(&mut client, "pool.workers", number);
    }
    // As Kubernetes mounts a ConfigMap: the file leads through a link to a directory, which is swapped.
    let here = path.parent().expect("in a directory");
    let version = |number: usize| {
        fs::create_dir(here.join(format!("..{number}"))).expect("made");
        fs::write(here.join(format!("..{number}/respool.toml")), workers(&gateway, number)).expect("written");
        symlink(format!("..{number}"), here.join("..tmp")).expect("linked");
        fs::rename(here.join("..tmp"), here.join("..data")).expect("swapped");
    };
    version(8);
    symlink("..data/respool.toml", here.join("link")).expect("linked");
    fs::rename(here.join("link"), &path).expect("renamed");
    wait_for(&mut client, "pool.workers", 8);
    for number in [9, 10] {
        version(number);
        wait_for(&mut client, "pool.workers", number);
    }
    // And through to where the link leads, in a directory of its own.
    fs::write(here.join("..10/respool.toml"), workers(&gateway, 11)).expect("written");
    wait_for(&mut client, "pool.workers", 11);
}

#[test]
fn a_bad_watched_file_changes_nothing_and_a_good_one_counts_again() {
    let redis = Redis::start(&[]);
    let gateway = watching(&redis);
    let (path, mut client) = (gateway.config_path(), gateway.client());
    replace(&path, &gateway.config_with("[pool]\nworkers = 0\nbatch_max = 7"));
    let refusal = gateway.logs().wait_for("configuration refused", DEADLINE);
    assert!(refusal.contains("pool.workers"), "{refusal}");
    wait_for(&mut client, "pool.batch_max", 128);
    replace(&path, &gateway.config_with("[pool]\nbatch_max = 9\nqueue_capacity = 77"));
    wait_for(&mut client, "pool.batch_max", 9);
    let answer = gateway.logs().wait_for("configuration in force", DEADLINE);
    assert!(answer.contains("\"applied\":\"pool.batch_max: 128 -> 9\""), "{answer}");
    assert!(answer.contains("\"needs_restart\":\"pool.queue_capacity: 16384 -> 77\""), "{answer}");
}

#[test]
fn a_watched_file_that_is_written_slowly_is_not_taken_for_empty() {
    let redis = Redis::start(&[]);
    let gateway = watching(&redis);
    let (path, mut client) = (gateway.config_path(), gateway.client());
    replace(&path, &workers(&gateway, 5));
    wait_for(&mut client, "pool.workers", 5);
    // An empty file is valid, and would put all defaults in force.
    let mut file = File::create(&path).expect("truncated");
    gateway.logs().wait_for("configuration file is empty", DEADLINE);
    wait_for(&mut client, "pool.workers", 5);
    file.write_all(workers(&gateway, 6).as_bytes()).expect("written");
    wait_for(&mut client, "pool.workers", 6);
}
