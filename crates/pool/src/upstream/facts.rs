//! What an upstream has said about itself: what it is, what it bears, and the material for the gateway's own `HELLO`
//! replies. Written by logins and checks, published by `node`, read by everybody.

use std::{sync::Arc, time::Duration};

use resp::{Protocol, Value};

use crate::{
    settings::{ours::PARAMETERS, role::Role, tenure::Tenure},
    upstream::limits::Limits,
};

/// What Valkey says in `HELLO` depends on these: that it is Redis, and of which version (so too in `INFO`), and where it is.
const SAID: [&str; 2] = ["extended-redis-compatibility", "availability-zone"];

/// What the upstream said, as far as it told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// See [`generation`](Self::generation).
    pub(crate) generation: u64,
    /// Left when the address leads to another process.
    pub(crate) process: Tenure,
    /// They are of where the upstream was until it went elsewhere.
    pub(crate) are_former: bool,
    /// Its reply to `HELLO 2`, whole, with 0 for the connection's id; `None` where it does not know the command.
    pub(crate) hello2: Option<Vec<u8>>,
    /// Its reply to `HELLO 3`, likewise; `None` where it does not speak RESP3.
    pub(crate) hello3: Option<Vec<u8>>,
    pub(crate) role: Option<Role>,
    pub(crate) run_id: Option<Arc<str>>,
    pub(crate) replication_id: Option<Arc<str>>,
    /// Whom a replica follows.
    pub(crate) primary: Option<Arc<str>>,
    pub(crate) loading: bool,
    /// Its `timeout` for idle clients.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) databases: Option<u32>,
    pub(crate) limits: Limits,
    /// A database that sessions begin in and that it refuses, with its words.
    pub(crate) refused_db: Option<(u32, Arc<str>)>,
    /// The last login found that this name, by which callers go, is another command there; and that command.
    pub(crate) misnamed: Option<(&'static str, Arc<str>)>,
    pub(crate) told: Told,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It has not been asked, or could not be answered at that time.
    #[default]
    NotYet,
    /// The upstream does not know it, or this user may not ask it. It is not asked again.
    Refused,
    Told,
}

/// What became of each of the questions of a login.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) hello: Asked,
    /// `HELLO … SETNAME`.
    pub(crate) named_by_hello: bool,
    /// `CLIENT SETNAME`, where that is not known.
    pub(crate) name: Asked,
    pub(crate) config: Asked,
    pub(crate) info: Asked,
    /// Whether the commands have the names by which callers go.
    pub(crate) names: Asked,
}

impl Facts {
    /// Whether they depend on this parameter of the upstream.
    pub fn depend_on(parameter: &[u8]) -> bool {
        PARAMETERS.iter().chain(&SAID).any(|known| parameter.eq_ignore_ascii_case(known.as_bytes()))
    }

    /// Rises whenever the upstream is found to be another process than before, or is to be treated like one: all
    /// connections of an older generation are replaced. From 1; 0 while nothing is known.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it is, if it says.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// Names the process, if it says.
    pub fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }

    /// Names the history of its data, which a primary and its replicas have in common; if it says.
    pub fn replication_id(&self) -> Option<&str> {
        self.replication_id.as_deref()
    }

    /// Whom it follows, as `host:port`, if it is a replica and says so.
    pub fn primary(&self) -> Option<&str> {
        self.primary.as_deref()
    }

    /// It is reading its data from disk, and refuses most requests.
    pub fn is_loading(&self) -> bool {
        self.loading
    }

    /// How many databases it has, if it says.
    pub fn databases(&self) -> Option<u32> {
        self.databases
    }

    /// What it bears of one connection.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

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
        let reply = with_id(template, id)?;
        // It may have said another one to the connection that has asked.
        self.role.and_then(|role| with_role(&reply, role)).or(Some(reply))
    }

    /// Takes in a reply to `HELLO 2`; the id of the connection.
    pub(crate) fn take_hello2(&mut self, reply: &[u8]) -> Option<i64> {
        let id = match field(reply, "id") {
            Some(Value::Integer(id)) => Some(id),
            _ => None,
        };
        self.hello2 = Some(with_id(reply, 0).unwrap_or_else(|| reply.to_vec()));
        self.role = field(reply, "role").and_then(|role| Role::from_words(role.as_bytes()?));
        id
    }

    /// Takes in a reply to `HELLO 3`.
    pub(crate) fn take_hello3(&mut self, reply: &[u8]) {
        self.hello3 = Some(with_id(reply, 0).unwrap_or_else(|| reply.to_vec()));
    }

    /// The upstream's version as it writes it, such as `7.0.15`.
    pub fn version(&self) -> Option<String> {
        let version = field(self.hello2.as_ref()?, "version")?;
        Some(String::from_utf8_lossy(version.as_bytes()?).into_owned())
    }

    /// Whether it is a Valkey that says so.
    pub fn is_valkey(&self) -> bool {
        let server = self.hello2.as_ref().and_then(|hello| field(hello, "server"));
        server.is_some_and(|server| server.as_bytes() == Some(b"valkey"))
    }

    /// Whether its version is at least `major.minor`, or it does not say.
    pub fn may_be_since(&self, major: u32, minor: u32) -> bool {
        self.version().is_none() || self.is_since(major, minor)
    }

    /// Whether its version is at least `major.minor`.
    pub fn is_since(&self, major: u32, minor: u32) -> bool {
        let version = self.version().unwrap_or_default();
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
    }

    /// Whether the upstream knows `RESET`: Redis since 6.2, and all of Valkey.
    pub(crate) fn can_reset(&self) -> bool {
        self.is_since(6, 2)
    }

    /// All that a login may ask has been asked and answered, or is known to be refused.
    pub(crate) fn is_whole(&self) -> bool {
        let Told { hello, config, info, names, .. } = self.told;
        [hello, config, info, names].into_iter().all(|asked| asked != Asked::NotYet)
    }

    /// Whether it says what it is when it is asked again.
    pub(crate) fn may_be_checked(&self) -> bool {
        self.told.hello == Asked::Told
    }

    /// As far as it is known what need not be asked; the rest is to be asked again.
    pub(crate) fn to_be_asked_again(&self) -> Self {
        let again = |asked| if asked == Asked::Refused { asked } else { Asked::NotYet };
        let Told { name, config, info, names, .. } = self.told;
        let told = Told { name, config: again(config), info: again(info), names: again(names), ..self.told };
        Self { told, ..self.clone() }
    }

    /// Why it is not what a pool wants whose clients begin in `db`, if so.
    pub(crate) fn unfit(&self, wanted: Option<Role>, db: u32) -> Option<String> {
        if self.loading {
            return Some("the upstream is loading its data".to_owned());
        }
        match (self.role, wanted) {
            (Some(Role::Replica), Some(Role::Primary)) => {
                let primary = self.primary.as_ref().map(|primary| format!(" of {primary}")).unwrap_or_default();
                return Some(format!("the upstream is a replica{primary}, not a primary"));
            }
            (Some(Role::Primary), Some(Role::Replica)) => {
                return Some("the upstream is a primary, not a replica".to_owned());
            }
            (Some(_) | None, _) => {}
        }
        let (refused, words) = self.refused_db.as_ref()?;
        (*refused == db).then(|| format!("the upstream refuses database {db}: {words}"))
    }
}

/// A reply to `HELLO` with another id of the connection.
fn with_id(reply: &[u8], id: u64) -> Option<Vec<u8>> {
    let mark = b"$2\r\nid\r\n:";
    let at = reply.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let end = at + reply[at..].iter().position(|byte| *byte == b'\r')?;
    Some([&reply[..at], id.to_string().as_bytes(), &reply[end..]].concat())
}

/// A reply to `HELLO` of a node with this role.
fn with_role(reply: &[u8], role: Role) -> Option<Vec<u8>> {
    let word = match role {
        Role::Primary => "master",
        Role::Replica => "replica",
    };
    let name = b"$4\r\nrole\r\n";
    let at = reply.windows(name.len()).position(|window| window == name)? + name.len();
    let line_after = |at: usize| Some(at + reply[at..].windows(2).position(|window| window == b"\r\n")? + 2);
    let end = line_after(line_after(at)?)?;
    Some([&reply[..at], format!("${}\r\n{word}\r\n", word.len()).as_bytes(), &reply[end..]].concat())
}

/// A field of a reply to `HELLO 2`.
fn field(reply: &[u8], name: &str) -> Option<Value> {
    Value::decode(&reply.to_vec().into()).ok()?.0.field(name).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeted(role: &str) -> Facts {
        let hello2 = format!(
            "*8\r\n$7\r\nversion\r\n$5\r\n7.0.9\r\n$2\r\nid\r\n:17\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
             $4\r\nrole\r\n${}\r\n{role}\r\n",
            role.len()
        );
        let mut facts = Facts::default();
        assert_eq!(facts.take_hello2(hello2.as_bytes()), Some(17));
        facts
    }

    #[test]
    fn the_id_is_the_gateways_own() {
        let facts = greeted("master");
        let reply = facts.hello(Protocol::Resp2, 4711).unwrap();
        assert!(reply.windows(12).any(|window| window == b"id\r\n:4711\r\n$"));
        assert_eq!((facts.version().as_deref(), facts.role()), (Some("7.0.9"), Some(Role::Primary)));
        assert!(facts.can_reset() && facts.is_since(7, 0) && !facts.is_since(7, 1));
        assert!(!facts.speaks(Protocol::Resp3));
    }

    #[test]
    fn hello_tells_the_role_that_it_has_turned_to() {
        let mut facts = greeted("master");
        facts.take_hello3(facts.hello2.clone().expect("it was taken").as_slice());
        facts.role = Some(Role::Replica);
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            assert_eq!(facts.hello(protocol, 4711), greeted("replica").hello(Protocol::Resp2, 4711));
        }
    }

    #[test]
    fn what_it_is_says_whether_it_fits() {
        let mut replica = greeted("replica");
        replica.primary = Some("10.0.0.1:6379".into());
        let why = replica.unfit(Some(Role::Primary), 0).unwrap();
        assert_eq!(why, "the upstream is a replica of 10.0.0.1:6379, not a primary");
        assert_eq!((replica.unfit(Some(Role::Replica), 0), replica.unfit(None, 0)), (None, None));
        let mut primary = greeted("master");
        assert_eq!(primary.unfit(Some(Role::Primary), 3), None);
        primary.refused_db = Some((3, "ERR DB index is out of range".into()));
        assert!(primary.unfit(Some(Role::Primary), 3).is_some() && primary.unfit(None, 0).is_none());
        primary.loading = true;
        assert_eq!(primary.unfit(None, 0).as_deref(), Some("the upstream is loading its data"));
    }
}
