//! Redis, and the gateways to compare with, set up as their documentation suggests for one upstream.

use std::{fmt::Write, path::Path, process::Command};

use crate::system::{
    doors::Wanted,
    start::{System, SystemError, find, free_port, start_at_doors, write},
};

/// Clients that every system is set up for: a gateway of one connection upstream for each needs twice as
/// many files, which a usual limit of 20,000 allows.
const CLIENTS_MAX: u32 = 8_000;

/// Starts a Redis without persistence.
///
/// # Errors
/// It is not installed or does not start; one that was built without TLS ends at once if that is wanted.
pub async fn redis(directory: &Path, wanted: &Wanted) -> Result<System, SystemError> {
    let absent = SystemError::Absent("redis-server", "apt-get install redis-server, or https://redis.io");
    let program = find("redis-server").ok_or(absent)?;
    let system = start_at_doors("redis", directory, wanted, |doors, own| {
        let mut command = Command::new(&program);
        command.args(["--port", &doors.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--maxclients", &CLIENTS_MAX.to_string(), "--tcp-backlog", "4096", "--dir"]).arg(own);
        if let Some((port, certificates)) = &doors.tls {
            command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
            command.arg("--tls-cert-file").arg(&certificates.cert).arg("--tls-key-file").arg(&certificates.key);
            command.arg("--tls-ca-cert-file").arg(&certificates.ca);
        }
        if let Some(socket) = &doors.socket {
            command.arg("--unixsocket").arg(socket);
        }
        Ok(command)
    })
    .await?;
    Ok(System { name: "direct".to_owned(), settings: "no persistence".to_owned(), ..system })
}

/// Starts this program's own floor: canned replies and no upstream. It has no TLS.
///
/// # Errors
/// It does not start.
pub async fn floor(directory: &Path, wanted: &Wanted) -> Result<System, SystemError> {
    let system = own_loop("floor", directory, wanted, &[]).await?;
    Ok(System { settings: "canned replies, no upstream".to_owned(), is_canned: true, ..system })
}

/// Starts this program's own bare gateway in front of the Redis at `upstream` (`host:port`). It has no TLS.
///
/// # Errors
/// It does not start.
pub async fn bare(directory: &Path, wanted: &Wanted, upstream: &str) -> Result<System, SystemError> {
    let system = own_loop("bare", directory, wanted, &["--upstream", upstream]).await?;
    Ok(System { settings: "one connection, no bounds, no faults mended".to_owned(), ..system })
}

async fn own_loop(name: &str, directory: &Path, wanted: &Wanted, more: &[&str]) -> Result<System, SystemError> {
    let program = std::env::current_exe().map_err(|error| SystemError::Io("find this program".to_owned(), error))?;
    start_at_doors(name, directory, &wanted.without_tls(), |doors, _| {
        let mut command = Command::new(&program);
        command.args(["floor", "--listen", &format!("127.0.0.1:{}", doors.port)]).args(more);
        if let Some(socket) = &doors.socket {
            command.arg("--socket").arg(socket);
        }
        Ok(command)
    })
    .await
}

/// Starts a twemproxy in front of the Redis at `upstream` (`host:port`). It has no TLS.
///
/// # Errors
/// It is not installed or does not start.
pub async fn nutcracker(directory: &Path, wanted: &Wanted, upstream: &str) -> Result<System, SystemError> {
    let program = find("nutcracker").ok_or(SystemError::Absent("nutcracker", "apt-get install nutcracker"))?;
    let system = start_at_doors("nutcracker", directory, &wanted.without_tls(), |doors, own| {
        let listen = [format!("127.0.0.1:{}", doors.port)].into_iter();
        let listen = listen.chain(doors.socket.iter().map(|socket| socket.display().to_string()));
        let mut text = String::new();
        for (index, address) in listen.enumerate() {
            // Writing into a String cannot fail.
            write!(
                text,
                "pool{index}:\n  listen: {address}\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n  \
                 auto_eject_hosts: false\n  backlog: 4096\n  server_connections: 1\n  servers:\n   - {upstream}:1\n"
            )
            .expect("a String takes all");
        }
        let file = own.join("nutcracker.yml");
        write(&file, &text)?;
        let mut command = Command::new(&program);
        let statistics = free_port()?.to_string();
        command.args(["--stats-addr", "127.0.0.1", "--stats-port", &statistics, "--conf-file"]).arg(file);
        Ok(command)
    })
    .await?;
    Ok(System { settings: "server_connections 1".to_owned(), ..system })
}

/// Starts an `HAProxy` in TCP mode in front of the Redis at `upstream` (`host:port`).
///
/// # Errors
/// It is not installed or does not start.
pub async fn haproxy(directory: &Path, wanted: &Wanted, upstream: &str) -> Result<System, SystemError> {
    let program = find("haproxy").ok_or(SystemError::Absent("haproxy", "apt-get install haproxy"))?;
    let system = start_at_doors("haproxy", directory, wanted, |doors, own| {
        let tls = doors.tls.iter().map(|(port, certificates)| {
            format!("  bind 127.0.0.1:{port} backlog 4096 ssl crt {}\n", certificates.both.display())
        });
        let socket = doors.socket.iter().map(|socket| format!("  bind unix@{}\n", socket.display()));
        let further: String = tls.chain(socket).collect();
        let file = own.join("haproxy.cfg");
        write(
            &file,
            &format!(
                "global\n  maxconn {CLIENTS_MAX}\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
                 timeout client 60s\n  timeout server 60s\nlisten redis\n  bind 127.0.0.1:{} backlog 4096\n\
                 {further}  server redis {upstream}\n",
                doors.port
            ),
        )?;
        let mut command = Command::new(&program);
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    })
    .await?;
    Ok(System { settings: "mode tcp, nbthread 1".to_owned(), ..system })
}

/// Starts a stunnel in front of the Redis at `upstream` (`host:port`). It has nothing but TLS, which `wanted` has to
/// hold.
///
/// # Errors
/// It is not installed or does not start.
pub async fn stunnel(directory: &Path, wanted: &Wanted, upstream: &str) -> Result<System, SystemError> {
    let absent = SystemError::Absent("stunnel", "apt-get install stunnel4");
    let program = find("stunnel").or_else(|| find("stunnel4")).ok_or(absent)?;
    let system = start_at_doors("stunnel", directory, &wanted.tls_alone(), |doors, own| {
        let accept = doors
            .tls
            .iter()
            .map(|(port, certificates)| format!("accept = 127.0.0.1:{port}\ncert = {}\n", certificates.both.display()));
        let file = own.join("stunnel.conf");
        let accept: String = accept.collect();
        // Without a delay: each small write is a request or a reply.
        let text = format!(
            "foreground = yes\npid =\nsyslog = no\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n[redis]\n\
             {accept}connect = {upstream}\n"
        );
        write(&file, &text)?;
        let mut command = Command::new(&program);
        command.arg(file);
        Ok(command)
    })
    .await?;
    Ok(System { settings: "a thread for each connection".to_owned(), ..system })
}
