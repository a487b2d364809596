"""Sequences of steps for the differential test, each drawn from its own seed.

A step is what one client sends and how many replies are due to whom afterwards.
Every step is fully answered before the next one, so that two clients always meet
in the same order. Used by differential.py; sends nothing itself.
"""

import random
from dataclasses import dataclass, field

from diff.cluster import differs, tagged
from diff.commands import BINARY, Commands
from wire import encode

CLIENTS = ("A", "B")
# What would change the state of a connection that is shared.
NOT_IN_A_BASE_BLOCK = ("HELLO", "CLIENT", "SELECT", "MULTI", "EXEC", "DISCARD")
MALFORMED = [
    b"*3\r\n$3\r\nSET\r\n:1\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$abc\r\n", b"*02x\r\n", b"*abc\r\n",
    b"*2147483648\r\n", b"*99999999999999999999\r\n", b"*1\r\n$99999999999\r\n", b"SET k \"open\r\n",
    b"GET 'a'b\r\n", b"*2\r\n$4\r\nECHO\r\nx\r\n", b"*1\r\nPING\r\n", b"*1\r\n$ 4\r\n",
]
IGNORED = [b"\r\n", b"\n", b"*0\r\n", b"*-1\r\n", b"*-7\r\n", b"   \r\n"]


@dataclass
class Step:
    """`client` sends `pieces`; then `due` says how many replies come, by client."""

    client: str
    pieces: list
    due: dict
    end: str = ""


@dataclass
class Client:
    """What the generator knows of a client's state."""

    name: str
    multi: bool = False
    steps: list = field(default_factory=list)


class Sequence:
    """Sequence number `number` under `seed`: the same steps every time."""

    def __init__(self, seed, number, stateful, cluster=False):
        self.rng = random.Random(f"respool {seed} {number}")
        self.commands = Commands(self.rng)
        self.stateful = stateful
        # In a cluster the keys of every other sequence are in one slot, so that they may be used together.
        self.cluster, self.together = cluster, number % 2 == 0
        self.fresh = 0
        self.tag = f"{number}"
        self.steps = []
        self.clients = {name: Client(name) for name in CLIENTS}
        for _ in range(self.rng.randint(3, 10)):
            self.one()
        for client in self.clients.values():
            self.leave(client)

    # Sending.

    def send(self, client, requests, due=None, split=True):
        """One step. `requests` are bytes; `due` is per client, one reply per request if not said."""
        due = {client.name: len(requests)} if due is None else due
        data = self.placed(b"".join(requests))
        pieces = self.cut(data) if split else [data]
        self.steps.append(Step(client.name, pieces, due))

    def placed(self, data):
        return tagged(data) if self.cluster and self.together else data

    def cut(self, data):
        """The same bytes in pieces that end at random places."""
        if len(data) < 2 or self.rng.random() < 0.5:
            return [data]
        count = min(self.rng.randint(1, 4), len(data) - 1)
        cuts = sorted(self.rng.sample(range(1, len(data)), count))
        return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]

    def draw(self, client, small=False, inside=False):
        """One request with one reply, keeping count of whether a transaction is open."""
        while True:
            wide = self.stateful and self.rng.random() < 0.15
            args = self.commands.stateful() if wide else self.commands.plain()
            # Issue 2 takes a transaction that one read brings whole.
            large = any(isinstance(arg, bytes) and len(arg) > 1000 for arg in args)
            session = str(args[0]).upper() in NOT_IN_A_BASE_BLOCK
            if self.cluster and differs(args, client.multi or inside, self.together):
                continue
            if self.stateful or not (small and large or inside and session):
                return self.note(client, args)

    def note(self, client, args):
        name = str(args[0]).upper() if isinstance(args[0], str) else ""
        if len(args) == 1 and name in ("MULTI", "EXEC", "DISCARD"):
            client.multi = name == "MULTI"
        request = encode(*args) if self.cluster else self.commands.request(args)
        if self.rng.random() < 0.01:
            request = self.rng.choice(IGNORED) + request
        return request

    def key(self):
        """A name that nothing else uses."""
        self.fresh += 1
        return f"own:{self.tag}:{self.fresh}"

    # The kinds of steps.

    def one(self):
        client = self.clients["A" if self.rng.random() < 0.75 else "B"]
        kinds = [self.single] * 4 + [self.pipeline] * 3
        if not self.cluster or self.together:
            kinds += [self.block] * 2
            kinds += [self.transaction] * 4 if self.stateful else []
        if self.stateful:
            idle = not any(client.multi for client in self.clients.values())
            kinds += [self.mode] * 3 if idle else []
        self.rng.choice(kinds)(client)

    def single(self, client):
        self.send(client, [self.draw(client)])

    def pipeline(self, client):
        count = self.rng.choice([2, 3, 5, 8, 20])
        self.send(client, [self.draw(client) for _ in range(count)])

    def block(self, client):
        """A whole transaction in one burst, with other requests around it."""
        before = [self.draw(client, small=True) for _ in range(self.rng.randint(0, 2))]
        inside = [self.note(client, ["MULTI"])]
        for _ in range(self.rng.randint(0, 5)):
            inside.append(self.draw(client, small=True, inside=True))
        if self.rng.random() < 0.1:
            inside.insert(1, self.note(client, ["MULTI"]))
        last = "DISCARD" if self.stateful and self.rng.random() < 0.2 else "EXEC"
        inside.append(self.note(client, [last]))
        after = [self.draw(client) for _ in range(self.rng.randint(0, 2))]
        # Only issue 3 holds a transaction whose end has not arrived yet.
        self.send(client, before + inside + after, split=self.stateful)

    def transaction(self, client):
        """A transaction one command at a time, now and then with a second client in between."""
        other = self.clients["B" if client.name == "A" else "A"]
        watched = self.commands.key("s")
        if self.rng.random() < 0.6:
            self.send(client, [self.note(client, ["WATCH", watched])])
            self.send(client, [self.note(client, ["GET", watched])])
        meddle = self.rng.random() < 0.5 and not other.multi
        if meddle and self.rng.random() < 0.5:
            self.send(other, [self.note(other, ["SET", watched, "theirs"])])
        self.send(client, [self.note(client, ["MULTI"])])
        for _ in range(self.rng.randint(0, 4)):
            self.send(client, [self.draw(client)])
        if meddle:
            self.send(other, [self.note(other, ["APPEND", watched, "!"])])
        last = self.rng.choice(["EXEC", "EXEC", "EXEC", "DISCARD", "RESET", None])
        if last == "RESET":
            client.multi = False
        if last:
            self.send(client, [self.note(client, [last])])
        if self.rng.random() < 0.7:
            self.send(client, [self.draw(client)])

    def mode(self, client):
        """Something that changes what the connection is for a while."""
        other = self.clients["B" if client.name == "A" else "A"]
        kinds = [self.subscriber, self.subscriber_3, self.sharded, self.skip]
        if not self.cluster or self.together:
            kinds += [self.served, self.served, self.silence]
        kinds += [self.tracking]
        if not self.cluster:
            kinds += [self.broadcast, self.reset]
        self.rng.choice(kinds)(client, other)

    def served(self, client, other):
        """A blocked client that the other one serves."""
        key, to = self.key(), self.key()
        ask, give = self.rng.choice([
            (("BLPOP", self.key(), key, 4), ("RPUSH", key, "a", "b")),
            (("BRPOP", key, 0), ("RPUSH", key, BINARY)),
            (("BLMOVE", key, to, "LEFT", "RIGHT", 0), ("LPUSH", key, "a")),
            (("BLMPOP", 4, 1, key, "LEFT", "COUNT", 2), ("RPUSH", key, "a", "b", "c")),
            (("BRPOPLPUSH", key, to, 4), ("RPUSH", key, "a")),
            (("BZPOPMIN", key, 4), ("ZADD", key, 1.5, "a", 2, "b")),
            (("BZMPOP", 4, 1, key, "MAX"), ("ZADD", key, 1.5, "a", 2, "b")),
            (("XREAD", "BLOCK", 4000, "STREAMS", key, "0"), ("XADD", key, "1-1", "f", "v")),
        ])
        # Both in one database, so that the one serves the other.
        for one in (client, other):
            self.send(one, [encode("SELECT", 0)])
        before = [self.draw_quiet() for _ in range(self.rng.randint(0, 2))]
        after = [self.draw_quiet() for _ in range(self.rng.randint(0, 2))]
        self.send(client, before + [encode(*ask)] + after, due={})
        self.send(other, [encode(*give)], due={
            other.name: 1, client.name: len(before) + 1 + len(after),
        })

    def draw_quiet(self):
        # Of a cluster a subscriber is refused what nobody knows like any other request.
        last = ("NOSUCH", "a") if not self.cluster else ("STRLEN", "s1")
        return encode(*self.rng.choice([("PING",), ("GET", "s1"), ("STRLEN", "s2"), last]))

    def subscriber(self, client, other):
        """RESP2's restricted mode."""
        self.send(client, [encode("HELLO", 2)])
        self.listen(client, other, ("GET", "s1"), ("PING",), ("PING", "x"), ("ECHO", "x"), ("SELECT", 1), ("MULTI",))

    def subscriber_3(self, client, other):
        """RESP3's pushes between ordinary replies."""
        self.send(client, [encode("HELLO", 3)])
        self.listen(
            client, other, ("GET", "s1"), ("PING",), ("SET", "s1", "v"), ("SELECT", 1), ("NOSUCH",),
            ("HGETALL", "h1"), ("CLIENT", "GETNAME"), ("CLIENT", "SETNAME", "ear"), ("ZRANGE", "z1", 0, 1, "WITHSCORES"),
        )

    def listen(self, client, other, *meanwhile):
        one, two, rng = self.key(), self.key(), self.rng
        if self.cluster:
            meanwhile = [args for args in meanwhile if args[0] != "SELECT"]
            # What a client watches binds it to a node, and PUBLISH counts the subscribers of one.
            self.send(client, [encode("UNWATCH")])
        self.send(client, [encode("SUBSCRIBE", one, two)], due={client.name: 2})
        both = {other.name: 1, client.name: 1}
        self.send(other, [encode("PUBLISH", one, BINARY)], due=both)
        self.send(client, [encode(*rng.choice(meanwhile)) for _ in range(rng.randint(0, 3))])
        if rng.random() < 0.5:
            self.send(client, [encode("PSUBSCRIBE", two[:-1] + "?*")])
            # As a channel's message and as the pattern's.
            self.send(other, [encode("PUBLISH", two, "m")], due={other.name: 1, client.name: 2})
            self.send(client, [encode(*rng.choice(meanwhile)), encode("PUNSUBSCRIBE", two[:-1] + "?*")])
        self.send(client, [encode("UNSUBSCRIBE", one)])
        self.send(other, [encode("PUBLISH", one, "unheard"), encode("PUBLISH", two, "m")], due={other.name: 2, client.name: 1})
        last = rng.choice(["UNSUBSCRIBE", "RESET", None, "UNSUBSCRIBE"])
        if last:
            self.send(client, [encode(last)])
            self.send(client, [encode("GET", "s1"), encode("UNSUBSCRIBE"), encode("PUNSUBSCRIBE", "none")])
        else:
            self.leave(client)

    def sharded(self, client, other):
        channel = self.key()
        self.send(client, [encode("SSUBSCRIBE", channel)])
        self.send(other, [encode("SPUBLISH", channel, "m")], due={other.name: 1, client.name: 1})
        self.send(client, [encode("SUNSUBSCRIBE", channel), encode("PING")])

    def silence(self, client, _other):
        """Replies switched off and on, in one burst or in several."""
        quiet = [self.draw_quiet() for _ in range(self.rng.randint(0, 4))]
        quiet += self.rng.choice([
            [], [encode("MULTI"), encode("INCR", "n1"), encode("EXEC")], [encode("BLPOP", "none", 0.01)],
            [encode("WATCH", "s1")], [encode("HELLO", 3)], [encode("SELECT", 0 if self.cluster else 1)],
            [encode("MULTI"), encode("DISCARD")],
        ])
        requests = [encode("CLIENT", "REPLY", "OFF"), *quiet, encode("SET", "s1", "silent")]
        if self.rng.random() < 0.5:
            self.send(client, requests, due={})
            requests = []
        self.send(client, [*requests, encode("CLIENT", "REPLY", "ON"), encode("GET", "s1")], due={client.name: 2})

    def skip(self, client, _other):
        quiet = self.draw_quiet()
        self.send(client, [encode("CLIENT", "REPLY", "SKIP"), quiet, encode("PING")], due={client.name: 1})

    def tracking(self, client, other):
        """Client-side caching: a read key is invalidated when the other client writes it."""
        key = self.key()
        self.send(client, [encode("HELLO", 3)])
        option = self.rng.choice([(), ("NOLOOP",), ("OPTIN",)])
        self.send(client, [encode("CLIENT", "TRACKING", "ON", *option)])
        opted = [encode("CLIENT", "CACHING", "YES")] if option == ("OPTIN",) else []
        self.send(client, [*opted, encode("GET", key)])
        self.send(other, [encode("SET", key, "new")], due={other.name: 1, client.name: 1})
        self.send(client, [*opted, encode("GET", key), encode("CLIENT", "TRACKINGINFO")])
        self.untrack(client)

    def broadcast(self, client, other):
        key = self.key()
        self.send(client, [encode("HELLO", 3)])
        self.send(client, [encode("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", key)])
        self.send(other, [encode("SET", key + "x", "new")], due={other.name: 1, client.name: 1})
        self.send(client, [encode("PING"), encode("GET", key + "x")])
        self.untrack(client)

    def untrack(self, client):
        last = self.rng.choice([("CLIENT", "TRACKING", "OFF"), ("RESET",), ("RESET",), None])
        if last:
            self.send(client, [encode(*last), encode("CLIENT", "TRACKINGINFO"), encode("PING")])
        else:
            self.leave(client)

    def reset(self, client, _other):
        self.send(client, [encode("HELLO", 3, "SETNAME", "before"), encode("SELECT", 2)])
        self.send(client, [encode("RESET"), encode("CLIENT", "GETNAME"), encode("DBSIZE"), encode("HGETALL", "h1")])

    # Leaving.

    def leave(self, client):
        """The connection ends in one of the ways there are; a new one takes its place."""
        last = self.rng.choice(["QUIT", "QUIT", "drop", "malformed"])
        pieces = {"QUIT": [encode("QUIT")], "drop": [], "malformed": [self.rng.choice(MALFORMED)]}[last]
        if pieces and self.rng.random() < 0.3:
            # What came before is answered, what comes after QUIT is not.
            pieces = [b"".join([*(self.draw_quiet() for _ in range(3)), *pieces])]
            pieces[0] += self.draw_quiet() if last == "QUIT" else b""
        pieces = [self.placed(piece) for piece in pieces]
        self.steps.append(Step(client.name, pieces, {}, end="dropped" if last == "drop" else "closed"))
        client.multi = False
