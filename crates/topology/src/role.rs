//! What a node says of itself when it is asked `ROLE`: the one proof that it is a primary, or of whom it is a
//! replica.

use resp::Value;
use thiserror::Error;

use crate::Address;

/// Replicas that are read of one reply; further ones are left out.
const REPLICAS_MAX: usize = 64;

/// The answer to `ROLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary {
        /// Bytes of its replication stream so far.
        offset: u64,
        /// The replicas connected to it, with the bytes that each has acknowledged.
        replicas: Vec<(Address, u64)>,
    },
    /// It follows another node.
    Replica {
        /// The node that it follows, as it knows it.
        primary: Address,
        /// Whether it is connected to that one and in step.
        linked: bool,
        /// Bytes of the replication stream that it has; nothing while it has none.
        offset: Option<u64>,
    },
    /// It is a sentinel, and no node at all.
    Sentinel,
}

/// The answer is none of those that Redis gives.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RoleError {
    /// An error reply; holds its text.
    #[error("ROLE was refused: {0}")]
    Refused(String),
    /// Anything else.
    #[error("the answer to ROLE is not one of Redis")]
    Malformed,
}

impl Role {
    /// Reads the reply to `ROLE`.
    ///
    /// # Errors
    /// It is an error reply, or nothing that Redis answers.
    pub fn read(reply: &Value) -> Result<Self, RoleError> {
        match reply {
            Value::Error(refused) => Err(RoleError::Refused(refused.clone())),
            Value::Array(items) => Self::of(items).ok_or(RoleError::Malformed),
            _ => Err(RoleError::Malformed),
        }
    }

    fn of(items: &[Value]) -> Option<Self> {
        match items.first()?.as_text()? {
            "master" => {
                let Value::Array(connected) = items.get(2)? else { return None };
                let replicas = connected.iter().take(REPLICAS_MAX).map(|replica| {
                    let Value::Array(parts) = replica else { return None };
                    Some((address(parts.first()?, parts.get(1)?)?, parts.get(2)?.as_integer()?.try_into().ok()?))
                });
                let offset = items.get(1)?.as_integer()?.try_into().ok()?;
                Some(Self::Primary { offset, replicas: replicas.collect::<Option<_>>()? })
            }
            "slave" => Some(Self::Replica {
                primary: address(items.get(1)?, items.get(2)?)?,
                linked: items.get(3)?.as_text()? == "connected",
                offset: items.get(4)?.as_integer()?.try_into().ok(),
            }),
            "sentinel" => Some(Self::Sentinel),
            _ => None,
        }
    }

    /// Whether it takes writes.
    pub fn is_primary(&self) -> bool {
        matches!(self, Self::Primary { .. })
    }

    /// Bytes of the replication stream that the node has.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Primary { offset, .. } => Some(*offset),
            Self::Replica { offset, .. } => *offset,
            Self::Sentinel => None,
        }
    }
}

fn address(host: &Value, port: &Value) -> Option<Address> {
    Some(Address::new(host.as_text()?, port.as_integer()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &str) -> Result<Role, RoleError> {
        Role::read(&Value::decode(&wire.to_owned().into()).expect("a reply").0)
    }

    #[test]
    fn the_answers_of_redis() {
        let primary = "*3\r\n$6\r\nmaster\r\n:3456\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$5\r\n44263\r\n$4\r\n3400\r\n";
        let replicas = vec![(Address::new("127.0.0.1", 44263), 3400)];
        assert_eq!(read(primary), Ok(Role::Primary { offset: 3456, replicas }));
        let replica = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:43399\r\n$9\r\nconnected\r\n:1668\r\n";
        let primary = Address::new("127.0.0.1", 43399);
        assert_eq!(read(replica), Ok(Role::Replica { primary: primary.clone(), linked: true, offset: Some(1668) }));
        let fresh = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:43399\r\n$7\r\nconnect\r\n:-1\r\n";
        assert_eq!(read(fresh), Ok(Role::Replica { primary, linked: false, offset: None }));
        assert_eq!(read("*2\r\n$8\r\nsentinel\r\n*0\r\n"), Ok(Role::Sentinel));
    }

    #[test]
    fn what_redis_does_not_answer() {
        assert_eq!(read("-NOAUTH first\r\n"), Err(RoleError::Refused("NOAUTH first".into())));
        for wire in ["+OK\r\n", "*0\r\n", "*1\r\n$6\r\nmaster\r\n", "*1\r\n$5\r\nslave\r\n", "*1\r\n$4\r\nking\r\n"] {
            assert_eq!(read(wire), Err(RoleError::Malformed), "{wire:?}");
        }
    }
}
