"""Single requests for the differential test, each with exactly one reply.

Every request is drawn from a seeded generator, over a few keys, and its reply is the
same on any Redis of one version: no clock, no random pick, no order that depends on
a hash seed (sets hold integers only, hashes stay small). Used by sequences.py.
"""

import hashlib

from wire import encode

BINARY = b"\x00\r\n\xff*1\r\n$-1\r\n"
SCRIPTS = [
    ("return redis.call('SET', KEYS[1], ARGV[1])", "s", 1),
    ("return {1, 'two', {3, 'four', {}}, 3.99, false, true}", None, 0),
    ("return redis.error_reply('MINE own error')", None, 0),
    ("return redis.pcall('LPUSH', KEYS[1], ARGV[1])", "s", 1),
    ("redis.call('INCR', KEYS[1]); return redis.call('GET', KEYS[1])", "n", 0),
    ("redis.setresp(3); return redis.call('HGETALL', KEYS[1])", "h", 0),
    ("return redis.call('NOSUCH')", None, 0),
    ("return nonsense +", None, 0),
    ("return {double=3.25}", None, 0),
]
# Every RESP3 type, made by a script.
TYPES = {
    kind: f"redis.setresp(3); return {value}"
    for kind, value in {
        "double": "{double=-0.1}", "inf": "{double=1/0}", "big": "{big_number='3492890328409238509324850943850'}",
        "verbatim": "{verbatim_string={format='txt', string='a\\r\\nb'}}", "true": "true", "false": "false",
        "map": "{map={a={map={b=-1}}}}", "set": "{set={a=true}}", "null": "{1, false, nil, 3}",
        "nested": "{{{{1, {set={[5]=true}}}, 'x'}}, {}}", "error": "{1, {err='INNER bad'}}",
    }.items()
}
PROTOCOL_TYPES = ["string", "integer", "double", "null", "array", "set", "map", "attrib", "verbatim", "true", "false", "bignum"]
LIBRARY = (
    "#!lua name=mine\n"
    "redis.register_function('put', function(keys, args) "
    "return redis.call('SET', keys[1], args[1]) end)"
)


class Commands:
    """Draws requests from one random generator."""

    def __init__(self, rng):
        self.rng = rng

    def key(self, kind):
        """A key that mostly holds this type: s string, n number, l list, h hash, t set, z zset, x stream."""
        if self.rng.random() < 0.06:
            kind = self.rng.choice("snlhtzx")
        return f"{kind}{self.rng.randint(1, 2)}"

    def value(self):
        rng = self.rng
        if rng.random() < 0.03:
            return bytes([rng.randint(97, 122)]) * rng.choice([1000, 20_000, 300_000])
        return rng.choice([b"", b"a", b"b", b"hello world", b"17", b"-3.5", BINARY, b"\xc3\xa9"])

    def small(self):
        return self.rng.choice(["a", "b", "c", "d", "17", BINARY])

    def number(self):
        return self.rng.choice([-2, -1, 0, 1, 2, 5, 100])

    def plain(self):
        """One command of issue 2, as its arguments."""
        rng = self.rng
        family = rng.choice([
            self.strings, self.strings, self.numbers, self.lists, self.hashes, self.sets,
            self.zsets, self.streams, self.keys, self.scripts, self.about, self.session,
        ])
        return self.spoil(list(family()))

    def spoil(self, args):
        """Now and then the same with an argument too few or too many, no such name, or other letters."""
        rng = self.rng
        # Up to Redis 7.0 the name counts although what comes after it is wrong: a difference that the page on commands names.
        if "SETNAME" in args and args[0] == "HELLO":
            return args
        # COMMAND and COMMAND DOCS list everything, in the order of a hash seed.
        # A set of anything but integers is as well.
        extra = 17 if args[0] == "SADD" else "extra"
        shorter = len(args) > 1 and args[0] != "COMMAND"
        if rng.random() < 0.05:
            args = args[:-1] if shorter and rng.random() < 0.6 else args + [extra]
        if rng.random() < 0.03:
            args = [rng.choice(["nosuch", "GETT", "", BINARY, "k" * 200])] + args[1:]
        if rng.random() < 0.1 and isinstance(args[0], str):
            args[0] = "".join(rng.choice([c.lower(), c.upper()]) for c in args[0])
        return args

    def request(self, args):
        """The bytes of a request: mostly an array, now and then inline."""
        if self.rng.random() < 0.06 and args[0]:
            return b" ".join(self._word(arg) for arg in args) + self.rng.choice([b"\r\n", b"\n"])
        return encode(*args)

    def _word(self, arg):
        """One word of an inline request, in one of the quotings that Redis knows."""
        raw = arg if isinstance(arg, bytes) else str(arg).encode()
        if len(raw) > 1000:
            raw = raw[:1000]
        simple = raw.isalnum()
        if simple and self.rng.random() < 0.6:
            return raw
        if simple and self.rng.random() < 0.5:
            return b"'" + raw + b"'"
        return b'"' + b"".join(b"\\x%02x" % byte for byte in raw) + b'"'

    def strings(self):
        key, value, rng = self.key("s"), self.value(), self.rng
        return rng.choice([
            ("SET", key, value), ("SET", key, value, "NX"), ("SET", key, value, "XX", "GET"),
            ("SET", key, value, "EX", 1000), ("SET", key, value, "KEEPTTL"), ("GET", key),
            ("GET", key), ("GETDEL", key), ("GETSET", key, value), ("APPEND", key, "tail"),
            ("STRLEN", key), ("GETRANGE", key, self.number(), self.number()),
            ("SETRANGE", key, rng.randint(0, 9), "xy"), ("MSET", key, value, self.key("s"), "m"),
            ("MSETNX", key, value, self.key("s"), "m"), ("MGET", key, self.key("s"), "none"),
            ("SETNX", key, value), ("BITCOUNT", key), ("SETBIT", key, rng.randint(0, 60), 1),
            ("BITFIELD", key, "SET", "u8", 0, 200, "INCRBY", "i5", 2, 1, "GET", "u4", 0),
            ("LCS", key, "p1", "IDX"), ("SET", key, value, "WRONG"),
            ("GETEX", key, "PERSIST"), ("SUBSTR", key, 0, 1), ("BITPOS", key, 1),
        ])

    def numbers(self):
        key = self.key("n")
        return self.rng.choice([
            ("INCR", key), ("DECR", key), ("INCRBY", key, self.number()), ("DECRBY", key, 3),
            ("INCRBYFLOAT", key, "0.5"), ("SET", key, 9223372036854775807), ("SET", key, 7),
            ("INCRBY", key, "abc"), ("GET", key), ("PFADD", "p1", self.small()),
            ("PFCOUNT", "p1"), ("PFADD", key, "a"),
        ])

    def lists(self):
        key, other, rng = self.key("l"), self.key("l"), self.rng
        return rng.choice([
            ("LPUSH", key, self.value(), "x"), ("RPUSH", key, self.value()),
            ("RPUSH", key, *range(rng.randint(1, 40))), ("LPOP", key), ("RPOP", key, 2),
            ("LPOP", key, -1), ("LLEN", key), ("LRANGE", key, 0, -1), ("LRANGE", key, -2, 5),
            ("LINDEX", key, self.number()), ("LSET", key, self.number(), "set"),
            ("LINSERT", key, "BEFORE", "x", "y"), ("LREM", key, 0, "x"), ("LTRIM", key, 0, 9),
            ("LMOVE", key, other, "LEFT", "RIGHT"), ("RPOPLPUSH", key, other),
            ("LPUSHX", key, "only"), ("LPOS", key, "x", "COUNT", 0), ("SORT", key, "ALPHA"),
            ("LMPOP", 2, key, other, "LEFT", "COUNT", 2), ("SORT", key, "LIMIT", 0, 2),
        ])

    def hashes(self):
        key = self.key("h")
        return self.rng.choice([
            ("HSET", key, self.small(), self.small()), ("HSET", key, "a", 1, "b", 2), ("HGET", key, "a"),
            ("HGETALL", key), ("HGETALL", key), ("HDEL", key, "a", "zz"), ("HLEN", key),
            ("HKEYS", key), ("HVALS", key), ("HMGET", key, "a", "b", "zz"), ("HEXISTS", key, "b"),
            ("HINCRBY", key, "17", 4), ("HINCRBYFLOAT", key, "17", "1.25"), ("HSETNX", key, "c", "v"),
            ("HSTRLEN", key, "a"), ("HSCAN", key, 0), ("HSET", key, "a"), ("HMSET", key, "d", "e"),
        ])

    def sets(self):
        key, other, number = self.key("t"), self.key("t"), self.rng.randint(1, 9)
        return self.rng.choice([
            ("SADD", key, number, number + 1), ("SREM", key, number), ("SMEMBERS", key),
            ("SMEMBERS", key), ("SISMEMBER", key, number), ("SMISMEMBER", key, number, 99),
            ("SCARD", key), ("SINTER", key, other), ("SUNION", key, other), ("SDIFF", key, other),
            ("SINTERSTORE", key, key, other), ("SUNIONSTORE", key, key, other),
            ("SINTERCARD", 2, key, other), ("SMOVE", key, other, number), ("SSCAN", key, 0),
        ])

    def zsets(self):
        key, other, member = self.key("z"), self.key("z"), self.small()
        score = self.rng.choice([1, 2.5, -3, "inf", "-inf", 1e21, 0.1, "nan"])
        return self.rng.choice([
            ("ZADD", key, score, member), ("ZADD", key, 1, "a", 2, "b", 3, "c"),
            ("ZADD", key, "XX", "GT", "CH", score, member), ("ZADD", key, "INCR", 1.5, member),
            ("ZSCORE", key, member), ("ZMSCORE", key, "a", "zz"), ("ZRANGE", key, 0, -1, "WITHSCORES"),
            ("ZRANGE", key, "(1", "+inf", "BYSCORE", "LIMIT", 0, 2), ("ZREVRANGE", key, 0, -1),
            ("ZRANGEBYLEX", key, "[a", "+"), ("ZINCRBY", key, 0.1, member), ("ZRANK", key, member),
            ("ZPOPMIN", key), ("ZPOPMAX", key, 2), ("ZCARD", key), ("ZCOUNT", key, "-inf", 2),
            ("ZREM", key, member), ("ZUNION", 2, key, other, "WITHSCORES"), ("ZINTERCARD", 2, key, other),
            ("ZUNIONSTORE", key, 2, key, other), ("ZMPOP", 1, key, "MAX"), ("ZSCAN", key, 0),
            ("GEOADD", key, 13.361389, 38.115556, "a"), ("GEOPOS", key, "a", "zz"),
            ("GEOSEARCH", key, "FROMLONLAT", 15, 37, "BYRADIUS", 500, "km", "ASC", "WITHDIST"),
        ])

    def streams(self):
        key, moment = self.key("x"), self.rng.randint(1, 50)
        return self.rng.choice([
            ("XADD", key, f"{moment}-1", "f", self.small()), ("XADD", key, f"{moment}-*", "f", "v"),
            ("XADD", key, "0-0", "f", "v"), ("XLEN", key), ("XRANGE", key, "-", "+"),
            ("XREVRANGE", key, "+", "-", "COUNT", 2), ("XREAD", "COUNT", 2, "STREAMS", key, 0),
            ("XGROUP", "CREATE", key, "g", 0, "MKSTREAM"), ("XGROUP", "DESTROY", key, "g"),
            ("XREADGROUP", "GROUP", "g", "me", "STREAMS", key, ">"), ("XACK", key, "g", f"{moment}-1"),
            ("XREADGROUP", "GROUP", "g", "you", "COUNT", 1, "STREAMS", key, 0), ("XPENDING", key, "g"),
            ("XAUTOCLAIM", key, "g", "you", 0, 0), ("XINFO", "STREAM", key), ("XINFO", "GROUPS", key),
            ("XTRIM", key, "MAXLEN", 3), ("XDEL", key, f"{moment}-1"), ("XSETID", key, "60-1"),
        ])

    def keys(self):
        any_key = self.key(self.rng.choice("snlhtzx"))
        return self.rng.choice([
            ("DEL", any_key), ("UNLINK", any_key, "none"), ("EXISTS", any_key, any_key, "none"),
            ("TYPE", any_key), ("RENAME", any_key, self.key("s")), ("COPY", any_key, self.key("s"), "REPLACE"),
            ("PERSIST", any_key), ("EXPIRE", any_key, 0), ("EXPIRE", any_key, 1000, "NX"), ("DBSIZE",),
            ("MOVE", any_key, 1), ("COPY", any_key, any_key, "DB", 2), ("OBJECT", "ENCODING", any_key),
            ("DUMP", "p1"), ("TOUCH", any_key), ("OBJECT", "NOSUCH", any_key), ("KEYS", any_key),
            ("RESTORE", any_key, 0, "garbage"), ("FLUSHDB",), ("SWAPDB", 1, 2), ("RENAMENX", any_key, "s2"),
        ])

    def scripts(self):
        text, kind, extra = self.rng.choice(SCRIPTS)
        keys = [self.key(kind)] if kind else []
        tail = [len(keys), *keys] + ([self.small()] if extra else [])
        digest = hashlib.sha1(text.encode()).hexdigest()
        return self.rng.choice([
            ("EVAL", text, *tail), ("EVAL", text, *tail), ("EVALSHA", digest, *tail),
            ("SCRIPT", "LOAD", text), ("SCRIPT", "EXISTS", digest, "0" * 40), ("EVAL_RO", text, *tail),
            ("FUNCTION", "LOAD", "REPLACE", LIBRARY), ("FCALL", "put", 1, self.key("s"), "v"),
            ("FUNCTION", "LIST"), ("FUNCTION", "DELETE", "mine"), ("SCRIPT", "NOSUCH"),
        ])

    def about(self):
        shape = self.rng.choice(list(TYPES))
        return self.rng.choice([
            ("PING",), ("PING", self.small()), ("ECHO", self.value()), ("COMMAND", "INFO", "get", "nosuch"),
            ("COMMAND", "COUNT"), ("COMMAND", "GETKEYS", "MSET", "a", 1, "b", 2), ("COMMAND", "DOCS", "get"),
            ("CONFIG", "GET", "maxmemory"), ("ACL", "WHOAMI"), ("EVAL", TYPES[shape], 0),
            ("EVAL", TYPES[shape], 0), ("PUBLISH", "nobody", "hears"), ("OBJECT", "HELP"),
            ("PUBSUB", "NUMSUB", "nobody"), ("CLUSTER", "INFO"), ("ACL", "CAT", "nosuch"),
        ])

    def session(self):
        """What the gateway answers itself, as far as issue 2 goes."""
        return self.rng.choice([
            ("SELECT", self.rng.choice([0, 0, 1, 2, 15])), ("SELECT", self.rng.choice([16, -1, "abc", "1x", ""])),
            ("HELLO", 2), ("HELLO", 3), ("HELLO", 3), ("HELLO", self.rng.choice([1, 4, "abc", ""])), ("HELLO",),
            ("HELLO", 3, "SETNAME", "hello"), ("HELLO", 2, "NOSUCH"), ("HELLO", 3, "SETNAME", "a b"),
            ("CLIENT", "SETNAME", self.rng.choice(["me", "you", "", "a b", "é"])), ("CLIENT", "GETNAME"),
            ("CLIENT", "NOSUCH"), ("EXEC",), ("EXEC", "x"), ("MULTI", "x"), ("DISCARD", "x"),
        ])

    def stateful(self):
        """One command of issue 3 that is answered once and leaves no mode behind."""
        pause, rng = self.rng.choice([0.01, "0.01", 0.02]), self.rng
        kept, other, zset, stream = self.key("l"), self.key("l"), self.key("z"), self.key("x")
        return self.spoil(list(rng.choice([
            ("BLPOP", kept, other, pause), ("BRPOP", kept, pause), ("BLPOP", kept, rng.choice([-1, "abc", "inf"])),
            ("BLMOVE", kept, other, "LEFT", "LEFT", pause), ("BRPOPLPUSH", kept, other, pause),
            ("BLMPOP", pause, 2, kept, other, "RIGHT"), ("BZPOPMIN", zset, pause), ("BZPOPMAX", zset, pause),
            ("BZMPOP", pause, 1, zset, "MIN", "COUNT", 2), ("XREAD", "BLOCK", 10, "STREAMS", stream, 0),
            ("XREAD", "BLOCK", 10, "STREAMS", stream, "$"), ("WAIT", 0, 10), ("WAIT", 1, 10),
            ("XREADGROUP", "GROUP", "g", "me", "BLOCK", 10, "STREAMS", stream, ">"), ("WAITAOF", 0, 0, 10),
            ("WATCH", kept, other), ("UNWATCH",), ("UNWATCH",), ("SCRIPT", "KILL"), ("FUNCTION", "KILL"),
            ("AUTH", "word"), ("AUTH", "default", "any"), ("AUTH", "nobody", "any"), ("CLIENT", "UNPAUSE"),
            ("HELLO", 3, "AUTH", "default", "any"), ("HELLO", 2, "AUTH", "nobody", "any", "SETNAME", "n"),
            ("CLIENT", "NO-EVICT", "ON"), ("CLIENT", "NO-EVICT", "OFF"), ("CLIENT", "TRACKING", "OFF"),
            ("CLIENT", "TRACKINGINFO"), ("CLIENT", "GETREDIR"), ("CLIENT", "REPLY", "ON"),
            ("CLIENT", "REPLY", "NOSUCH"), ("CLIENT", "NO-EVICT", "x"), ("DISCARD",), ("CLIENT", "KILL", "ID", 0),
            ("CLIENT", "UNBLOCK", 999999999), ("CLIENT", "UNBLOCK", "abc"), ("CLIENT", "CACHING", "YES"),
            ("CLIENT", "INFO"), ("CLIENT", "INFO"), ("CLIENT", "LIST", "ID", 999999999), ("CLIENT", "LIST", "TYPE", "x"),
            ("DEBUG", "PROTOCOL", rng.choice(PROTOCOL_TYPES)), ("DEBUG", "PROTOCOL", rng.choice(PROTOCOL_TYPES)),
        ])))
