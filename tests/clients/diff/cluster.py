"""What a cluster behind the gateway answers otherwise than a single Redis, and is therefore not asked.

Each entry is a difference that the page on clusters names. Used by sequences.py.
"""

import re

# Keys as the sequences name them, as arguments of a request.
KEY = re.compile(rb"\$(\d+)\r\n((?:[snlhtzx][12]|none|p1|own:\d+:\d*x?(?:\?\*)?)\r\n)")
NAME = re.compile(r"(?:[snlhtzx][12]|none|p1|own:\d+:\d+x?)$")
TAG = b"{t}"

# One database.
DATABASES = {"MOVE", "SWAPDB"}
# About all shards, or the cluster: no part of a transaction.
OF_ALL = {"DBSIZE", "KEYS", "FLUSHDB", "FLUSHALL", "SCRIPT", "FUNCTION", "RANDOMKEY", "SCAN", "CLUSTER"}
# Keys of several slots, and the command is split.
SPLIT = {"MGET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH"}


def tagged(data):
    """The same requests with all keys in one slot."""
    return KEY.sub(lambda key: b"$%d\r\n%s%s" % (int(key[1]) + len(TAG), TAG, key[2]), data)


def differs(args, in_transaction, together):
    """Whether the answer may be another one. `together`: the keys are in one slot."""
    words = [str(arg).upper() for arg in args]
    name = words[0]
    if name in DATABASES or (name == "SELECT" and words[1:2] != ["0"]) or "DB" in words[1:]:
        return True
    # Tracked is what a client has read.
    if name == "CLIENT" and (words[1:2] == ["CACHING"] and in_transaction or "BCAST" in words or "REDIRECT" in words):
        return True
    if name == "CLIENT" and words[1:2] == ["TRACKING"] and in_transaction:
        return True
    if in_transaction and (name in OF_ALL or words[:2] == ["CLIENT", "UNPAUSE"]):
        return True
    # A transaction is of one slot, and what a client watches binds it to one node.
    if name in ("MULTI", "WATCH") and not together:
        return True
    # It may be taken for a further key, of another slot.
    if args[-1] == "extra":
        return True
    keys = {arg for arg in args[1:] if isinstance(arg, str) and NAME.match(arg)}
    return not together and len(keys) > 1 and name not in SPLIT
