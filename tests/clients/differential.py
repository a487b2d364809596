"""Random command sequences, sent to Redis directly and through respool, compared byte for byte.

Owns the comparison and the command line: what is sent is diff/sequences.py's. Starts its
own two Redis and the gateway unless it is given URLs. Ends with `N passed, N failed`.
"""

import argparse
import re
import sys
import time

import processes
from diff.sequences import CLIENTS, Sequence, Step
from wire import Missing, Wire, encode

# The number of a connection is its own; HELLO tells it.
HELLO_ID = re.compile(rb"(\$2\r\nid\r\n:)\d+")
# CLIENT INFO tells addresses and sizes, too; these are a session's own.
CLIENT_LINE = re.compile(rb"[$=]\d+\r\n(?:txt:)?id=\d+ [^\n]*\n")
CLIENT_FIELD = re.compile(rb" (?:name|db|sub|psub|multi|cmd|user|redir|resp)=\S*")
DIFFERENCES_MAX = 20
SHOWN_MAX = 600
# With --rights both clients are this user: some keys of each kind, and not all commands.
RIGHTS = (
    "on >narrow resetkeys ~s* ~n1 ~l1 ~h* %R~t* ~z1 ~x1 ~own:* allchannels +@all -@dangerous -flushall -script -object "
    "-client|kill -client|no-evict -hgetall -zrange -wait -acl +acl|whoami -config -function"
).split()
# What Redis and the gateway say where docs/configure.md tells of a difference: no lent connection is taken to another
# user, and rights to CLIENT commands are looked at first.
DOCUMENTED = [
    (b"", b"-ERR respool: AUTH and HELLO are not possible while"),
    (b"-ERR wrong number of arguments for 'client|", b"-NOPERM this user has no permissions to run the 'client|"),
]
RIGHTS_CONFIG = '[auth]\nmode = "upstream"\nfailure_delay_ms = 0\nfailures_max = 1000\n'


class Side:
    """One of the two ways to a Redis, with control connections straight to all nodes of that Redis."""

    def __init__(self, name, url, upstreams, rights=False):
        self.name, self.url, self.rights = name, url, rights
        self.controls = [Wire(upstream) for upstream in upstreams]
        # What the gateway itself keeps is forgotten by this way alone.
        self.front = Wire(url)
        self.wires = {}
        if rights:
            self.controls[0].send(encode("ACL", "SETUSER", "narrow", *RIGHTS))
            if (said := self.controls[0].frames(1)) != b"+OK\r\n":
                raise processes.StartError(f"{name} refuses the user: {said!r}")

    def clean(self):
        for control in [*self.controls, self.front]:
            control.send(encode("FLUSHALL"), encode("SCRIPT", "FLUSH"), encode("FUNCTION", "FLUSH"))
            control.frames(3)

    def wire(self, client):
        if client not in self.wires:
            self.wires[client] = Wire(self.url)
            if self.rights:
                self.wires[client].send(encode("AUTH", "narrow", "narrow"))
                self.wires[client].frames(1)
        return self.wires[client]

    def read(self, client, count):
        """What came, and whether all of it did."""
        try:
            data, whole = self.wire(client).frames(count), True
        except Missing as error:
            data, whole = error.got + b"<%s>" % str(error).split(":")[0].encode(), False
        data = CLIENT_LINE.sub(lambda line: b"".join(CLIENT_FIELD.findall(line[0])), data)
        return HELLO_ID.sub(rb"\g<1>0", data), whole

    def close(self, client, ending):
        wire = self.wires.pop(client, None)
        if wire is None:
            return b""
        got = wire.until_closed() if ending == "closed" else b""
        wire.close()
        return got

    def close_all(self):
        for client in list(self.wires):
            self.close(client, "dropped")


def play(sides, steps):
    """The first difference between the sides as (step, client, replies), or None."""
    for side in sides:
        side.clean()
    try:
        for number, step in enumerate(steps):
            for side in sides:
                side.wire(step.client).send(*step.pieces)
            for client in CLIENTS:
                if count := step.due.get(client):
                    answers = [side.read(client, count) for side in sides]
                    if is_documented(sides, answers):
                        return None
                    if answers[0][0] != answers[1][0] or not answers[0][1]:
                        return number, client, [data for data, _whole in answers]
            if step.end:
                answers = [side.close(step.client, step.end) for side in sides]
                if answers[0] != answers[1] or b"<still open>" in answers[0]:
                    return number, step.client, answers
        return None
    finally:
        for side in sides:
            side.close_all()


def is_documented(sides, answers):
    """Whether they are the same up to what differs for a user with rights of its own; the state may differ from there on."""
    direct, through = (data for data, _whole in answers)
    parted = next((at for at, (a, b) in enumerate(zip(direct, through)) if a != b), len(through))
    line = through.rfind(b"\n", 0, parted) + 1
    documented = DOCUMENTED if sides[1].rights else ()
    return any(direct.startswith(theirs, line) and through.startswith(ours, line) for theirs, ours in documented)


def shown(data):
    text = repr(data)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}... ({len(data)} bytes)"


def diverging(answers):
    """The two answers from shortly before where they part, when they are long."""
    start = next((i for i, (a, b) in enumerate(zip(*answers)) if a != b), 0)
    start = max(0, start - 80)
    return [data[start:] for data in answers], start


def tell(sides, steps, found, replay):
    number, client, answers = found
    print(f"DIFFERENCE at step {number}, in what client {client} got. Replay: {replay}")
    for index, step in enumerate(steps[: number + 1]):
        print(f"  {index} {step.client} sends {shown(b''.join(step.pieces))} in {len(step.pieces)} piece(s)")
    answers, start = diverging(answers)
    for side, answer in zip(sides, answers):
        print(f"  {side.name} answered (from byte {start}): {shown(answer)}")


def can_fail(sides):
    """Whether a difference on purpose is found: one side holds other data."""
    steps = [
        Step("A", [encode("HELLO", 3)], {"A": 1}),
        Step("A", [encode("GET", "secret")], {"A": 1}),
    ]
    for side in sides:
        side.clean = lambda: None
    for control in sides[1].controls:
        # Of a cluster one has it.
        control.send(encode("SET", "secret", "other"))
        control.frames(1)
    try:
        return play(sides, steps) is not None
    finally:
        for side in sides:
            del side.clean


def compare(sides, options, replay):
    """Plays all sequences asked for; returns how many agreed and how many did not."""
    wanted = [options.sequence] if options.sequence is not None else range(options.sequences)
    same = different = 0
    for number in wanted:
        steps = Sequence(options.seed, number, options.classes == "all", options.cluster).steps
        found = play(sides, steps)
        if found is None:
            same += 1
            continue
        different += 1
        tell(sides, steps, found, f"{replay} --sequence {number}")
        if different >= DIFFERENCES_MAX:
            print(f"stopped after {different} differences")
            break
    return same, different


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="where the random choices start (default: the clock)")
    parser.add_argument("--sequences", type=int, default=3000, help="how many to play")
    parser.add_argument("--sequence", type=int, help="play only this one, to see a difference again")
    parser.add_argument("--classes", choices=["base", "all"], default="all", help="base: no session state")
    parser.add_argument("--rights", action="store_true", help="as an ACL user that may do little")
    parser.add_argument("--against", choices=["respool", "redis"], default="respool")
    parser.add_argument("--cluster", action="store_true", help="a cluster behind the gateway, beside a single Redis")
    parser.add_argument("--direct", help="URL of a Redis, with --through and --upstream")
    parser.add_argument("--through", help="URL of the gateway")
    parser.add_argument("--upstream", help="URL of the Redis behind it")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = time.time_ns() % 1_000_000
    return options


def main():
    options = arguments()
    started = []
    try:
        if options.direct:
            urls = options.direct, options.through, [options.upstream]
        elif options.cluster:
            started += [processes.Redis(), processes.Cluster()]
            started.append(processes.Respool(started[1].url))
            urls = started[0].url, started[2].url, started[1].urls
        else:
            started += [processes.Redis(), processes.Redis()]
            urls = started[0].url, started[1].url, [started[1].url]
            if options.against == "respool":
                started.append(processes.Respool(started[1].url, RIGHTS_CONFIG if options.rights else ""))
                urls = urls[0], started[2].url, urls[2]
        sides = [
            Side("redis", urls[0], [urls[0]], options.rights),
            Side(options.against, urls[1], urls[2], options.rights),
        ]
        if not can_fail(sides):
            print("a difference made on purpose was not found")
            return 1
        began = time.monotonic()
        cluster = " --cluster" if options.cluster else ""
        replay = f"differential.py --seed {options.seed} --classes {options.classes}{cluster}"
        same, different = compare(sides, options, replay)
        print(f"seed {options.seed}, classes {options.classes}, {time.monotonic() - began:.1f} s")
        print(f"{same} passed, {different} failed")
        return 1 if different else 0
    finally:
        for process in reversed(started):
            process.end()


if __name__ == "__main__":
    sys.exit(main())
