//! `--health`: asks a gateway that runs with the same configuration whether it is well, by the metrics address. For
//! the health checks of containers, in whose images there is no other program that could ask.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 4_096;

/// What the gateway at `metrics` answers to `/healthz`.
///
/// # Errors
/// It cannot be reached, takes longer than `wait` for a step, or is not well; says why.
pub(crate) fn ask(metrics: SocketAddr, wait: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&reachable(metrics), wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: respool\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("nothing");
    if status == "200" { Ok(()) } else { Err(io::Error::other(format!("{status} {}", body.trim()))) }
}

/// An address that stands for all of this machine is reached by its loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
