//! What an upstream said about itself when a connection logged in: the material for the gateway's own
//! `HELLO` replies. Published by workers, read by sessions.

use std::time::Duration;

use resp::{Protocol, Value};

/// What the upstream said at the last login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its reply to `HELLO 2`, whole; `None` where it does not know the command.
    pub(crate) hello2: Option<Vec<u8>>,
    /// Its reply to `HELLO 3`, whole; `None` where it does not speak RESP3.
    pub(crate) hello3: Option<Vec<u8>>,
    /// Its `timeout` for idle clients, where it told.
    pub(crate) idle_timeout: Option<Duration>,
}

impl Facts {
    /// Half of the time that the upstream lets a connection be idle: what leaves room for its coarse clock.
    pub(crate) fn half_idle_timeout(&self) -> Duration {
        self.idle_timeout.map_or(Duration::MAX, |timeout| timeout / 2)
    }

    /// Whether the upstream speaks the version.
    pub fn speaks(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Resp2 => true,
            Protocol::Resp3 => self.hello3.is_some(),
        }
    }

    /// The upstream's own `HELLO` reply in a version, with the connection's id replaced by `id`.
    /// `None` where it does not know `HELLO`.
    pub fn hello(&self, protocol: Protocol, id: u64) -> Option<Vec<u8>> {
        let template = match protocol {
            Protocol::Resp2 => self.hello2.as_ref()?,
            Protocol::Resp3 => self.hello3.as_ref()?,
        };
        let mark = b"$2\r\nid\r\n:";
        let at = template.windows(mark.len()).position(|window| window == mark)? + mark.len();
        let end = at + template[at..].iter().position(|byte| *byte == b'\r')?;
        Some([&template[..at], id.to_string().as_bytes(), &template[end..]].concat())
    }

    /// The upstream's version as it writes it, such as `7.0.15`.
    pub fn version(&self) -> Option<String> {
        self.field(b"version").and_then(|value| Some(String::from_utf8_lossy(value.as_bytes()?).into_owned()))
    }

    /// The upstream's id of the connection that logged in.
    pub(crate) fn id(&self) -> Option<i64> {
        match self.field(b"id") {
            Some(Value::Integer(id)) => Some(id),
            _ => None,
        }
    }

    /// Whether the upstream knows `RESET`: Redis since 6.2, and all of Valkey.
    pub(crate) fn can_reset(&self) -> bool {
        let version = self.version().unwrap_or_default();
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 2)
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        let reply = self.hello2.as_ref()?;
        let Ok((Value::Array(items), _)) = Value::decode(&reply.clone().into()) else { return None };
        items.chunks_exact(2).find_map(|pair| (pair[0].as_bytes() == Some(name)).then(|| pair[1].clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_gateways_own() {
        let hello2 = b"*6\r\n$7\r\nversion\r\n$5\r\n7.0.9\r\n$2\r\nid\r\n:17\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n";
        let facts = Facts { hello2: Some(hello2.to_vec()), ..Default::default() };
        let reply = facts.hello(Protocol::Resp2, 4711).unwrap();
        assert!(reply.windows(12).any(|window| window == b"id\r\n:4711\r\n$"));
        assert_eq!(facts.version().as_deref(), Some("7.0.9"));
        assert_eq!(facts.id(), Some(17));
        assert!(facts.can_reset());
        assert!(!facts.speaks(Protocol::Resp3));
    }
}
