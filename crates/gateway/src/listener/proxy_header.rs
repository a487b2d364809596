//! The header of the PROXY protocol, version 1 or 2: what a load balancer sends in front of all that its client sends.
//! Reads not a byte more than the header has, so that the stream behind it is the client's own.

use std::{io, net::SocketAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the shortest header of version 1. No header of version 2 is shorter.
const SHORTEST: usize = 15;

/// Bytes of the longest header of version 1.
const TEXT_BYTES_MAX: usize = 107;

/// Bytes of a header of version 2 up to its length and with it.
const FRAME_BYTES: usize = 16;

/// Bytes of a header of version 2. What stands behind the addresses is not looked at: names, identifiers, and what a
/// balancer knows of a certificate.
const BINARY_BYTES_MAX: usize = 4096;

/// Who comes, as the header tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A client from this address.
    Client(SocketAddr),
    /// A client of whom no address is told.
    Unknown,
    /// The balancer itself, to look whether we live.
    Balancer,
}

/// Why there is no header.
#[derive(Debug)]
pub(crate) enum HeaderError {
    /// The connection ended first.
    Gone,
    /// What came is none; holds why in words.
    Wrong(String),
}

impl From<io::Error> for HeaderError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads it.
///
/// # Cancel safety
/// Not cancel-safe: what was read of it is lost.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Told, HeaderError> {
    let mut header = Vec::with_capacity(TEXT_BYTES_MAX);
    // A client that comes past the balancer may send less than the shortest header, and wait for a reply.
    while header.len() < SHORTEST {
        let bytes = (&mut *stream).take((SHORTEST - header.len()) as u64).read_buf(&mut header).await?;
        if bytes == 0 {
            return Err(HeaderError::Gone);
        }
        let begins = |prefix: &[u8]| prefix.iter().zip(&header).all(|(one, other)| one == other);
        if !begins(v2::PROTOCOL_PREFIX) && !begins(v1::PROTOCOL_PREFIX.as_bytes()) {
            return Err(HeaderError::Wrong("what came is no PROXY header".to_owned()));
        }
    }
    if header.starts_with(v2::PROTOCOL_PREFIX) { binary(stream, header).await } else { text(stream, header).await }
}

/// Version 1: a line. Its end is only found by reading up to it.
async fn text<S: AsyncRead + Unpin>(stream: &mut S, mut header: Vec<u8>) -> Result<Told, HeaderError> {
    while !header.ends_with(b"\r\n") {
        if header.len() == TEXT_BYTES_MAX {
            return Err(HeaderError::Wrong(format!("the PROXY header is longer than {TEXT_BYTES_MAX} bytes")));
        }
        header.push(stream.read_u8().await?);
    }
    let parsed = v1::Header::try_from(&header[..]).map_err(|error| wrong(&error))?;
    Ok(match parsed.addresses {
        v1::Addresses::Tcp4(ip) => Told::Client((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Told::Client((ip.source_address, ip.source_port).into()),
        v1::Addresses::Unknown => Told::Unknown,
    })
}

/// Version 2: says how long it is.
async fn binary<S: AsyncRead + Unpin>(stream: &mut S, mut header: Vec<u8>) -> Result<Told, HeaderError> {
    header.resize(FRAME_BYTES, 0);
    stream.read_exact(&mut header[SHORTEST..]).await?;
    let bytes = FRAME_BYTES + usize::from(u16::from_be_bytes([header[FRAME_BYTES - 2], header[FRAME_BYTES - 1]]));
    if bytes > BINARY_BYTES_MAX {
        let problem = format!("the PROXY header has {bytes} bytes, more than {BINARY_BYTES_MAX}");
        return Err(HeaderError::Wrong(problem));
    }
    header.resize(bytes, 0);
    stream.read_exact(&mut header[FRAME_BYTES..]).await?;
    let parsed = v2::Header::try_from(&header[..]).map_err(|error| wrong(&error))?;
    Ok(match (parsed.command, parsed.protocol, parsed.addresses) {
        (v2::Command::Local, ..) => Told::Balancer,
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(ip)) => {
            Told::Client((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(ip)) => {
            Told::Client((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, ..) => Told::Unknown,
    })
}

fn wrong(error: &dyn std::fmt::Display) -> HeaderError {
    HeaderError::Wrong(format!("the PROXY header is wrong: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// The header of version 2 with this command, family and what follows.
    fn binary_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend_from_slice(rest);
        header
    }

    const IPV4: &[u8] = &[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x18, 0xeb];

    /// What is read, and what is left in the stream; the header comes in two pieces, the second after the first was read.
    async fn read_in_two(header: &[u8], cut: usize) -> (Result<Told, HeaderError>, Vec<u8>) {
        let (mut far, mut near) = tokio::io::duplex(1 << 20);
        let (one, two) = header.split_at(cut);
        far.write_all(one).await.unwrap();
        let told = tokio::select! {
            biased;
            told = read(&mut near) => told,
            told = async {
                tokio::task::yield_now().await;
                far.write_all(two).await.unwrap();
                far.write_all(b"rest").await.unwrap();
                std::future::pending().await
            } => told,
        };
        far.shutdown().await.unwrap();
        let mut left = Vec::new();
        near.read_to_end(&mut left).await.unwrap();
        (told, left)
    }

    #[tokio::test]
    async fn a_header_is_read_whole_wherever_it_is_cut_and_nothing_behind_it() {
        let client = |text: &str| Told::Client(text.parse().unwrap());
        let long = [IPV4, &[0x04; 4080]].concat();
        let ipv6: Vec<u8> = [[0x20; 16], [0; 16]].concat().into_iter().chain([0, 7, 0, 8]).collect();
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(TEXT_BYTES_MAX - 16)).into_bytes();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n".to_vec(), client("192.0.2.7:4660")),
            (b"PROXY TCP6 2001:db8::7 ::1 4660 6379\r\n".to_vec(), client("[2001:db8::7]:4660")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Told::Unknown),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), Told::Unknown),
            (longest, Told::Unknown),
            (binary_header(1, 0x11, IPV4), client("192.0.2.7:4660")),
            (binary_header(1, 0x11, &long[..4080]), client("192.0.2.7:4660")),
            (binary_header(1, 0x21, &ipv6), client("[2020:2020:2020:2020:2020:2020:2020:2020]:7")),
            (binary_header(1, 0x31, &[0; 216]), Told::Unknown),
            (binary_header(1, 0x12, IPV4), Told::Unknown),
            (binary_header(1, 0x00, &[]), Told::Unknown),
            (binary_header(0, 0x00, &[]), Told::Balancer),
            (binary_header(0, 0x11, IPV4), Told::Balancer),
        ] {
            for cut in 0..=header.len() {
                let (told, left) = read_in_two(&header, cut).await;
                let shown = header[..header.len().min(60)].escape_ascii();
                assert_eq!(told.unwrap(), expected, "{shown}, cut at {cut}");
                assert_eq!(left, if cut < header.len() { &b"rest"[..] } else { b"" }, "{shown}, cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_told_as_soon_as_that_is_clear() {
        for (bytes, why) in [
            (b"PING\r\n".to_vec(), "no PROXY header"),
            (b"*1\r\n".to_vec(), "no PROXY header"),
            (b"\r\n\r\nx".to_vec(), "no PROXY header"),
            (b"\x16\x03\x01".to_vec(), "no PROXY header"),
            (b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n".to_vec(), "wrong: "),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n".to_vec(), "wrong: "),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(), "wrong: "),
            (b"PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(), "wrong: "),
            (b"PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(), "wrong: "),
            (b"PROXY UNKNOWN \r x\r\n".to_vec(), "wrong: "),
            ([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(), "longer than 107 bytes"),
            (binary_header(1, 0x11, &IPV4[..11]), "wrong: "),
            (binary_header(1, 0x41, IPV4), "wrong: "),
            (binary_header(1, 0x13, IPV4), "wrong: "),
            (binary_header(2, 0x11, IPV4), "wrong: "),
            (binary_header(0x11, 0x11, IPV4), "wrong: "),
            (binary_header(1, 0x11, &[0; 4081]), "has 4097 bytes, more than 4096"),
        ] {
            // The stream stays open: nothing more is waited for.
            let (mut far, mut near) = tokio::io::duplex(1 << 20);
            far.write_all(&bytes).await.unwrap();
            match read(&mut near).await {
                Err(HeaderError::Wrong(problem)) => assert!(problem.contains(why), "{problem}"),
                other => panic!("{}: {other:?}", bytes.escape_ascii()),
            }
        }
    }

    #[tokio::test]
    async fn who_leaves_before_its_end_is_gone() {
        for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n".to_vec(), binary_header(1, 0x11, IPV4)] {
            for end in 0..header.len() {
                assert!(matches!(read(&mut &header[..end]).await, Err(HeaderError::Gone)), "{end}");
            }
        }
    }
}
