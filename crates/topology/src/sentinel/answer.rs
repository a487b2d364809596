//! Answers of a sentinel: to `SENTINEL MASTER`, `SENTINEL REPLICAS` and `SENTINEL SENTINELS`.

use resp::Value;
use thiserror::Error;

use crate::Address;

/// Nodes or sentinels that are read of one answer; further ones are left out.
const INSTANCES_MAX: usize = 64;

/// What a sentinel says of a service's primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where it is; in the second half of a failover already the new one.
    pub primary: Address,
    /// Rises with each failover: of two answers the one with the higher epoch is newer.
    pub epoch: u64,
    /// This sentinel is at replacing it, and has not done so yet.
    pub failing_over: bool,
}

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// An error reply; holds its text. `No such master with that name` is one of them.
    #[error("{0}")]
    Refused(String),
    /// Anything that no sentinel answers.
    #[error("the answer is not one of a sentinel")]
    Malformed,
}

impl Named {
    /// Reads the replies to `SENTINEL GET-MASTER-ADDR-BY-NAME service` and `SENTINEL MASTER service`, asked together.
    /// While a sentinel that leads a failover still has the old primary in its table, only the first tells the new one.
    ///
    /// # Errors
    /// One is an error reply, or nothing that a sentinel answers.
    pub fn read(current: &Value, table: &Value) -> Result<Self, AnswerError> {
        not_refused(current)?;
        not_refused(table)?;
        let read = || {
            let Value::Array(parts) = current else { return None };
            let [host, port] = &parts[..] else { return None };
            let primary = Address::new(host.as_text()?, port.as_integer()?.try_into().ok()?);
            let in_progress = table.field("flags")?.as_text()?.split(',').any(|flag| flag == "failover_in_progress");
            let epoch = table.field("config-epoch")?.as_integer()?.try_into().ok()?;
            let failing_over = in_progress && address(table)? == primary;
            Some(Self { primary, epoch, failing_over })
        };
        read().ok_or(match current {
            Value::Null => AnswerError::Refused("it knows no service of this name".into()),
            _ => AnswerError::Malformed,
        })
    }
}

/// Another sentinel, as one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: Address,
    /// What it calls itself: the same whatever its address is written as. Empty where it is not known yet.
    pub id: String,
}

/// Reads the reply to `SENTINEL REPLICAS service`: the addresses. A replica without one is left out.
///
/// # Errors
/// It is an error reply, or nothing that a sentinel answers.
pub fn read_replicas(reply: &Value) -> Result<Vec<Address>, AnswerError> {
    Ok(instances(reply)?.iter().filter_map(address).collect())
}

/// Reads the reply to `SENTINEL SENTINELS service`: the other sentinels. One without an address is left out.
///
/// # Errors
/// It is an error reply, or nothing that a sentinel answers.
pub fn read_peers(reply: &Value) -> Result<Vec<Peer>, AnswerError> {
    let peer = |instance: &Value| {
        let id = instance.field("runid").and_then(Value::as_text).unwrap_or_default().to_owned();
        Some(Peer { address: address(instance)?, id })
    };
    Ok(instances(reply)?.iter().filter_map(peer).collect())
}

fn instances(reply: &Value) -> Result<&[Value], AnswerError> {
    not_refused(reply)?;
    let Value::Array(instances) = reply else { return Err(AnswerError::Malformed) };
    Ok(&instances[..instances.len().min(INSTANCES_MAX)])
}

fn not_refused(reply: &Value) -> Result<(), AnswerError> {
    match reply {
        Value::Error(text) => Err(AnswerError::Refused(text.clone())),
        _ => Ok(()),
    }
}

fn address(instance: &Value) -> Option<Address> {
    Some(Address::new(instance.field("ip")?.as_text()?, instance.field("port")?.as_integer()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(fields: &[(&str, &str)]) -> Value {
        let bulk = |text: &str| Value::Bulk(text.to_owned().into());
        Value::Array(fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect())
    }

    fn list(host: &str, port: &str) -> Value {
        Value::Array(vec![Value::Bulk(host.to_owned().into()), Value::Bulk(port.to_owned().into())])
    }

    #[test]
    fn the_primary_and_its_epoch() {
        let fields = [("name", "m"), ("ip", "10.0.0.1"), ("port", "6379"), ("flags", "master"), ("config-epoch", "7")];
        let current = list("10.0.0.1", "6379");
        let named = Named { primary: Address::new("10.0.0.1", 6379), epoch: 7, failing_over: false };
        assert_eq!(Named::read(&current, &instance(&fields)), Ok(named.clone()));
        let mut failing = fields;
        failing[3].1 = "s_down,o_down,master,failover_in_progress";
        assert_eq!(Named::read(&current, &instance(&failing)), Ok(Named { failing_over: true, ..named }));
        // The leader has promoted a replica and tells the others.
        let promoted = Named { primary: Address::new("10.0.0.2", 6379), epoch: 7, failing_over: false };
        assert_eq!(Named::read(&list("10.0.0.2", "6379"), &instance(&failing)), Ok(promoted));
    }

    #[test]
    fn replicas_and_sentinels() {
        let one = instance(&[("ip", "::1"), ("port", "1")]);
        let two = instance(&[("port", "2"), ("ip", "h"), ("runid", "abc")]);
        let replies = Value::Array(vec![one, two, instance(&[("port", "3")])]);
        assert_eq!(read_replicas(&replies), Ok(vec![Address::new("::1", 1), Address::new("h", 2)]));
        assert_eq!(read_replicas(&Value::Array(Vec::new())), Ok(Vec::new()));
        let peer = |host, port, id: &str| Peer { address: Address::new(host, port), id: id.into() };
        assert_eq!(read_peers(&replies), Ok(vec![peer("::1", 1, ""), peer("h", 2, "abc")]));
    }

    #[test]
    fn what_no_sentinel_answers() {
        let refused = Value::Error("ERR No such master with that name".into());
        let error = AnswerError::Refused("ERR No such master with that name".into());
        assert_eq!(Named::read(&list("h", "1"), &refused), Err(error.clone()));
        assert_eq!(read_replicas(&refused), Err(error));
        assert!(matches!(Named::read(&Value::Null, &Value::Null), Err(AnswerError::Refused(_))));
        let table = instance(&[("ip", "h"), ("port", "1"), ("flags", "master")]);
        assert_eq!(Named::read(&list("h", "1"), &table), Err(AnswerError::Malformed));
        assert_eq!(Named::read(&list("h", "70000"), &table), Err(AnswerError::Malformed));
        assert_eq!(read_peers(&Value::Null), Err(AnswerError::Malformed));
    }
}
