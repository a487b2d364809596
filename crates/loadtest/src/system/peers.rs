//! Redis, and the gateways to compare with, set up as their documentation suggests for one upstream.

use std::{path::Path, process::Command};

use crate::system::start::{System, SystemError, find, free_port, start_on_port, write};

/// Clients that every system is set up for: a gateway of one connection upstream for each needs twice as
/// many files, which a usual limit of 20,000 allows.
const CLIENTS_MAX: u32 = 8_000;

/// Starts a Redis without persistence.
///
/// # Errors
/// It is not installed or does not start.
pub async fn redis(directory: &Path) -> Result<System, SystemError> {
    let absent = SystemError::Absent("redis-server", "apt-get install redis-server, or https://redis.io");
    let program = find("redis-server").ok_or(absent)?;
    let (target, process) = start_on_port("redis", directory, |port, own| {
        let mut command = Command::new(&program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--maxclients", &CLIENTS_MAX.to_string(), "--tcp-backlog", "4096", "--dir"]).arg(own);
        Ok(command)
    })
    .await?;
    Ok(System { name: "direct".to_owned(), target, process: Some(process), settings: "no persistence".to_owned() })
}

/// Starts a twemproxy in front of the Redis at `upstream` (`host:port`).
///
/// # Errors
/// It is not installed or does not start.
pub async fn nutcracker(directory: &Path, upstream: &str) -> Result<System, SystemError> {
    let program = find("nutcracker").ok_or(SystemError::Absent("nutcracker", "apt-get install nutcracker"))?;
    let (target, process) = start_on_port("nutcracker", directory, |port, own| {
        let file = own.join("nutcracker.yml");
        write(
            &file,
            &format!(
                "pool:\n  listen: 127.0.0.1:{port}\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n  \
                 auto_eject_hosts: false\n  backlog: 4096\n  server_connections: 1\n  servers:\n   - {upstream}:1\n"
            ),
        )?;
        let mut command = Command::new(&program);
        let statistics = free_port()?.to_string();
        command.args(["--stats-addr", "127.0.0.1", "--stats-port", &statistics, "--conf-file"]).arg(file);
        Ok(command)
    })
    .await?;
    let settings = "server_connections 1".to_owned();
    Ok(System { name: "nutcracker".to_owned(), target, process: Some(process), settings })
}

/// Starts an `HAProxy` in TCP mode in front of the Redis at `upstream` (`host:port`).
///
/// # Errors
/// It is not installed or does not start.
pub async fn haproxy(directory: &Path, upstream: &str) -> Result<System, SystemError> {
    let program = find("haproxy").ok_or(SystemError::Absent("haproxy", "apt-get install haproxy"))?;
    let (target, process) = start_on_port("haproxy", directory, |port, own| {
        let file = own.join("haproxy.cfg");
        write(
            &file,
            &format!(
                "global\n  maxconn {CLIENTS_MAX}\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
                 timeout client 60s\n  timeout server 60s\nlisten redis\n  bind 127.0.0.1:{port} backlog 4096\n  \
                 server redis {upstream}\n"
            ),
        )?;
        let mut command = Command::new(&program);
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    })
    .await?;
    Ok(System {
        name: "haproxy".to_owned(),
        target,
        process: Some(process),
        settings: "mode tcp, nbthread 1".to_owned(),
    })
}
