//! A raw client by TLS: bytes out, whole replies in.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use resp::ReplyScanner;
use tokio_rustls::rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::certificates::{Authority, Pair};
use crate::support::{DEADLINE, request};

/// What a client trusts, shows and remembers.
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts `authority` and shows `pair`, if there is one.
    pub fn new(authority: &Authority, pair: Option<&Pair>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.file()).expect("a certificate")).expect("an authority");
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().expect("there are").with_root_certificates(roots);
        let config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let cert = CertificateDer::from_pem_file(&pair.cert).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
                builder.with_client_auth_cert(vec![cert], key).expect("a pair")
            }
        };
        Self(Arc::new(config))
    }
}

pub struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    input: Vec<u8>,
}

impl TlsClient {
    /// Asks for the certificate of `name`.
    pub fn connect_as(address: SocketAddr, name: &str, trust: &Trust) -> io::Result<Self> {
        Self::begin(address, &[], name, trust)
    }

    /// What a load balancer sends comes first.
    pub fn connect_behind(address: SocketAddr, header: &[u8], trust: &Trust) -> Self {
        Self::begin(address, header, "127.0.0.1", trust).expect("connects")
    }

    fn begin(address: SocketAddr, header: &[u8], name: &str, trust: &Trust) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, DEADLINE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(Arc::clone(&trust.0), name).expect("a connection");
        let mut stream = StreamOwned::new(connection, socket);
        stream.sock.write_all(header)?;
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(Self { stream, input: Vec::new() })
    }

    pub fn connect(address: SocketAddr, trust: &Trust) -> Self {
        Self::connect_as(address, "127.0.0.1", trust).expect("connects")
    }

    /// Where it connects from.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.sock.local_addr().expect("connected")
    }

    /// Whether an earlier session was taken up again.
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What both sides encrypt with.
    pub fn cipher(&self) -> CipherSuite {
        self.stream.conn.negotiated_cipher_suite().expect("agreed upon").suite()
    }

    /// The certificate that it was shown.
    pub fn shown(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().expect("it was shown one")[0].to_vec()
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sends");
    }

    /// A reply; `None` at the end of the connection.
    pub fn try_read_reply(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut scanner, mut scanned) = (ReplyScanner::new(128), 0);
        loop {
            let progress = scanner.scan(&self.input[scanned..]).map_err(io::Error::other)?;
            scanned += progress.consumed;
            if progress.complete.is_some() {
                let rest = self.input.split_off(scanned);
                return Ok(Some(std::mem::replace(&mut self.input, rest)));
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn read_reply(&mut self) -> Vec<u8> {
        self.try_read_reply().expect("a reply in time").expect("a reply, not the end of the connection")
    }

    #[track_caller]
    pub fn expect(&mut self, line: &str, reply: &str) {
        self.send_raw(&request(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!(String::from_utf8_lossy(&self.read_reply()), reply, "reply to {line:?}");
    }

    /// Goes away without the word that TLS has for it.
    pub fn vanish(self) {
        let (_, socket) = self.stream.into_parts();
        drop(socket);
    }
}
