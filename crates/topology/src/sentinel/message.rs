//! Messages that a sentinel publishes, as far as they say something about one service's primary. The channel is
//! the event's name; the text is `type name ip port [@ service ip port]`, or an event's own.

use crate::Address;

/// News of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `+try-failover`: the sentinel begins to replace this primary.
    Begun {
        /// The primary that is to be replaced.
        primary: Address,
    },
    /// `+selected-slave`: the sentinel will promote this replica.
    Selected {
        /// The replica.
        replica: Address,
    },
    /// `-failover-abort-…`: the sentinel gave up; the primary stays what it was. Holds the event's name.
    Aborted(String),
    /// `+switch-master`: the sentinel knows another primary now.
    Switched {
        /// The former primary.
        from: Address,
        /// The new one.
        to: Address,
    },
    /// Anything else that tells that the sentinel knows more than it did: its answers are worth asking for.
    Changed,
}

impl Message {
    /// The channels that hold news, as patterns to subscribe to.
    pub const PATTERNS: [&'static str; 12] = [
        "+try-failover",
        "+selected-slave",
        "+promoted-slave",
        "+failover-end*",
        "-failover-abort-*",
        "+switch-master",
        "+slave",
        "+sentinel",
        "+config-update-from",
        "+convert-to-slave",
        "+reset-master",
        "+monitor",
    ];

    /// Reads a message; nothing if it is about another service, or no news.
    pub fn read(channel: &str, text: &str, service: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        if channel == "+switch-master" {
            let [name, from_host, from_port, to_host, to_port] = words[..] else { return None };
            let from = address(from_host, from_port)?;
            return (name == service).then_some(Self::Switched { from, to: address(to_host, to_port)? });
        }
        let instance = Instance::read(&words)?;
        if instance.service != service {
            return None;
        }
        Some(match channel {
            "+try-failover" => Self::Begun { primary: instance.address },
            "+selected-slave" => Self::Selected { replica: instance.address },
            _ if channel.starts_with("-failover-abort-") => Self::Aborted(channel.to_owned()),
            _ => Self::Changed,
        })
    }
}

/// What most messages are about.
struct Instance<'m> {
    address: Address,
    service: &'m str,
}

impl<'m> Instance<'m> {
    /// A primary stands alone; a replica or a sentinel is followed by its primary.
    fn read(words: &[&'m str]) -> Option<Self> {
        let (instance, of) = words.split_at_checked(4)?;
        let service = match (instance[0], of) {
            ("master", _) => instance[1],
            (_, ["@", service, ..]) => service,
            _ => return None,
        };
        Some(Self { address: address(instance[2], instance[3])?, service })
    }
}

fn address(host: &str, port: &str) -> Option<Address> {
    Some(Address::new(host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(channel: &str, text: &str) -> Option<Message> {
        Message::read(channel, text, "mymaster")
    }

    fn at(port: u16) -> Address {
        Address::new("127.0.0.1", port)
    }

    #[test]
    fn messages_as_redis_writes_them() {
        let primary = "master mymaster 127.0.0.1 35229";
        assert_eq!(read("+try-failover", primary), Some(Message::Begun { primary: at(35229) }));
        let replica = "slave 127.0.0.1:36483 127.0.0.1 36483 @ mymaster 127.0.0.1 35229";
        assert_eq!(read("+selected-slave", replica), Some(Message::Selected { replica: at(36483) }));
        let name = "-failover-abort-no-good-slave";
        assert_eq!(read(name, primary), Some(Message::Aborted(name.to_owned())));
        let switched = "mymaster 127.0.0.1 35229 127.0.0.1 36483";
        assert_eq!(read("+switch-master", switched), Some(Message::Switched { from: at(35229), to: at(36483) }));
        let sentinel = "sentinel 46b1bf80 127.0.0.1 34415 @ mymaster 127.0.0.1 35229";
        assert_eq!(read("+config-update-from", sentinel), Some(Message::Changed));
    }

    #[test]
    fn what_is_not_about_this_service() {
        assert_eq!(read("+try-failover", "master other 127.0.0.1 1"), None);
        assert_eq!(read("+selected-slave", "slave a 127.0.0.1 1 @ other 127.0.0.1 2"), None);
        assert_eq!(read("+switch-master", "other 127.0.0.1 1 127.0.0.1 2"), None);
        for text in ["", "master", "master mymaster 127.0.0.1 x", "slave a 127.0.0.1 1", "mymaster 127.0.0.1 1"] {
            assert_eq!(read("+try-failover", text), None, "{text:?}");
            assert_eq!(read("+switch-master", text), None, "{text:?}");
        }
    }
}
