"""redis-py, commands that need no connection state: issue 2, both protocols.

Runs against whatever RESPOOL_TEST_URL names; see conftest.py.
"""

import asyncio
import hashlib
import os
import random

import pytest
import redis
import redis.asyncio

pytestmark = pytest.mark.base
ALL_BYTES = bytes(range(256)) + b"\r\n$-1\r\n*2\r\n"


def test_types_come_back_as_redis_sends_them(client):
    assert client.set("s", "v") is True
    assert client.get("s") == b"v" and client.get("none") is None
    assert client.set("s", "w", nx=True) is None
    assert client.set("s", "x", get=True) == b"v"
    assert client.expire("s", 100) and 0 < client.ttl("s") <= 100
    assert client.incrby("n", -5) == -5 and client.incrbyfloat("n", 0.5) == -4.5
    assert client.rpush("l", *range(500)) == 500
    assert client.lrange("l", 0, -1) == [str(i).encode() for i in range(500)]
    assert client.hset("h", mapping={"a": 1, "b": 2}) == 2
    assert client.hgetall("h") == {b"a": b"1", b"b": b"2"}
    assert client.sadd("t", 1, 2, 3) == 3 and client.smembers("t") == {b"1", b"2", b"3"}
    assert client.zadd("z", {"a": 1.5, "b": float("inf"), "c": float("-inf")}) == 3
    assert client.zscore("z", "b") == float("inf") and client.zscore("z", "a") == 1.5
    assert [list(pair) for pair in client.zrange("z", 0, -1, withscores=True)][1] == [b"a", 1.5]
    assert client.type("z") == b"zset" and client.object("encoding", "n") in (b"embstr", b"raw")


def test_binary_keys_and_values(client):
    client.set(ALL_BYTES, ALL_BYTES)
    client.hset("h", ALL_BYTES, ALL_BYTES * 3)
    assert client.get(ALL_BYTES) == ALL_BYTES
    assert client.hgetall("h") == {ALL_BYTES: ALL_BYTES * 3}
    assert client.get("") is None and client.set("", "") and client.get("") == b""


@pytest.mark.parametrize("size", [15_999, 16_384, 65_536, 1_000_003, 64 * 1024 * 1024])
def test_large_values(client, size):
    value = random.Random(size).randbytes(size)
    client.set("large", value)
    assert client.strlen("large") == size
    # Compared by digest: a failure is not printed in full.
    assert hashlib.sha1(client.get("large")).digest() == hashlib.sha1(value).digest()


def test_values_of_all_sizes_in_one_pipeline(client):
    values = [random.Random(i).randbytes(i * 37) for i in range(400)]
    pipeline = client.pipeline(transaction=False)
    for index, value in enumerate(values):
        pipeline.set(f"k{index}", value).get(f"k{index}")
    answers = pipeline.execute()
    assert answers[1::2] == values


def test_pipeline_of_ten_thousand(client):
    pipeline = client.pipeline(transaction=False)
    for _ in range(10_000):
        pipeline.incr("n")
    assert pipeline.execute() == list(range(1, 10_001))


def test_transactional_pipeline(client):
    pipeline = client.pipeline(transaction=True)
    pipeline.set("a", 1).incr("a").hset("h", "f", "v").hgetall("h").lrange("none", 0, -1)
    assert pipeline.execute() == [True, 2, 1, {b"f": b"v"}, []]


def test_large_transactional_pipeline(client):
    pipeline = client.pipeline(transaction=True)
    for _ in range(50):
        pipeline.incr("n")
    assert pipeline.execute() == list(range(1, 51))


def test_error_inside_a_transaction(client):
    pipeline = client.pipeline(transaction=True)
    pipeline.set("a", "text").lpush("a", 1).get("a")
    answers = pipeline.execute(raise_on_error=False)
    assert answers[0] is True and answers[2] == b"text"
    assert isinstance(answers[1], redis.ResponseError) and "WRONGTYPE" in str(answers[1])


def test_transaction_refused_as_a_whole(client):
    pipeline = client.pipeline(transaction=True)
    pipeline.set("a", 1).execute_command("NOSUCH")
    with pytest.raises(redis.ResponseError, match="unknown command"):
        pipeline.execute()
    assert client.get("a") is None


def test_errors_in_a_plain_pipeline(client):
    pipeline = client.pipeline(transaction=False)
    pipeline.set("a", "x").incr("a").execute_command("NOSUCH", "y").get("a")
    answers = pipeline.execute(raise_on_error=False)
    assert [type(answer) for answer in answers[1:3]] == [redis.ResponseError] * 2
    assert answers[3] == b"x"


def test_errors_are_redis_own(client):
    client.set("s", "v")
    with pytest.raises(redis.ResponseError, match="^WRONGTYPE Operation against a key"):
        client.lpush("s", 1)
    with pytest.raises(redis.ResponseError, match="wrong number of arguments for 'get' command"):
        client.execute_command("GET")
    with pytest.raises(redis.ResponseError, match="unknown command 'NOSUCH', with args beginning with: 'a'"):
        client.execute_command("NOSUCH", "a")
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)
    assert client.get("s") == b"v"


def test_register_script(client):
    double = client.register_script("return redis.call('GET', KEYS[1]) * ARGV[1]")
    client.set("n", 21)
    assert double(keys=["n"], args=[2]) == 42
    client.script_flush()
    assert double(keys=["n"], args=[3]) == 63
    pipeline = client.pipeline()
    double(keys=["n"], args=[4], client=pipeline)
    assert pipeline.execute() == [84]


def test_scripts_answer_with_nested_values(client):
    assert client.eval("return {1, 'two', {3, {false, 'five'}}, 2.9}", 0) == [1, b"two", [3, [None, b"five"]], 2]
    with pytest.raises(redis.ResponseError, match="MINE it is"):
        client.eval("return redis.error_reply('MINE it is')", 0)


def test_lock_by_script(client):
    with client.lock("lock", timeout=10, blocking_timeout=5):
        assert client.lock("lock", timeout=10).acquire(blocking=False) is False
    assert client.exists("lock") == 0


def test_streams_without_waiting(client):
    ids = [client.xadd("x", {"n": n}) for n in range(5)]
    client.xgroup_create("x", "g", id="0")
    assert len(client.xrange("x")) == 5
    taken = client.xreadgroup("g", "me", {"x": ">"}, count=3)
    taken = taken["x".encode()][0] if isinstance(taken, dict) else taken[0][1]
    assert [entry[0] for entry in taken] == ids[:3]
    assert client.xpending("x", "g")["pending"] == 3
    assert client.xack("x", "g", *ids[:3]) == 3


def test_scan_iter(client):
    client.mset({f"scan:{i}": i for i in range(1000)})
    assert {int(key[5:]) for key in client.scan_iter("scan:*", count=50)} == set(range(1000))
    client.hset("h", mapping={f"f{i}": i for i in range(1000)})
    assert len(dict(client.hscan_iter("h"))) == 1000


def test_database_numbers_in_urls(connect):
    zero, three = connect("/0"), connect("/3")
    zero.set("k", "zero")
    three.set("k", "three")
    for _ in range(50):
        assert (zero.get("k"), three.get("k")) == (b"zero", b"three")
    assert three.dbsize() == 1
    assert three.move("k", 0) is False
    with pytest.raises(redis.ResponseError, match="DB index is out of range"):
        connect("/16").ping()


def test_select_in_mid_session(connect):
    client = connect(single_connection_client=True)
    pipeline = client.pipeline(transaction=False)
    for database in range(10):
        pipeline.execute_command("SELECT", database).set("k", database)
    for database in range(10):
        pipeline.execute_command("SELECT", database).get("k")
    assert pipeline.execute()[21::2] == [str(i).encode() for i in range(10)]


def test_names_and_ids_belong_to_the_session(connect):
    one, two = (connect(single_connection_client=True, client_name=name) for name in ("one", "two"))
    assert (one.client_getname(), two.client_getname()) in (("one", "two"), (b"one", b"two"))
    assert one.client_id() != two.client_id()
    assert one.client_id() == one.client_id()


def test_what_a_server_tells_about_itself(connect):
    client = connect()
    assert client.info()["redis_version"].count(".") == 2
    assert client.config_get("maxmemory") == {"maxmemory": "0"}
    hello = client.execute_command("HELLO", str(connect.protocol))
    hello = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2]))
    assert hello[b"server"] == b"redis" and hello[b"proto"] == connect.protocol
    assert client.ping() is True and client.echo("x") == b"x"
    assert client.publish("nobody", "hears") == 0


def test_info_has_a_section_of_the_gateway_where_there_is_one(connect):
    client = connect()
    section, everything = client.info("respool"), client.info("everything")
    assert "redis_version" in everything and not any(key.startswith("respool_") for key in client.info())
    if os.environ["RESPOOL_TEST_SUBJECT"] == "direct":
        assert section == {}
        return
    assert section["respool_version"].count(".") == 2 and section["respool_state"] == "up"
    assert section["respool_cl_idle"] >= 1 and section["respool_total_query_count"] >= 1
    assert section.keys() <= everything.keys()


def test_decoded_answers(connect):
    client = connect(decode_responses=True)
    client.hset("h", mapping={"ключ": "значение"})
    assert client.hgetall("h") == {"ключ": "значение"}


def test_threads_share_one_pool(connect, together):
    client = connect(max_connections=64)

    def work(number):
        def run():
            rng = random.Random(number)
            for turn in range(150):
                value = rng.randbytes(rng.choice([1, 100, 5000]))
                client.set(f"k{number}", value)
                assert client.get(f"k{number}") == value
                if turn % 10 == 0:
                    pipeline = client.pipeline(transaction=turn % 20 == 0)
                    assert pipeline.incr("all").get(f"k{number}").execute()[1] == value
        return run

    together(*(work(number) for number in range(32)))
    assert client.get("all") == str(32 * 15).encode()


def test_protocols_side_by_side(url, together):
    def work(protocol, number):
        def run():
            with redis.Redis.from_url(url, protocol=protocol) as client:
                for turn in range(100):
                    client.hset(f"h{number}", "f", turn)
                    assert client.hgetall(f"h{number}") == {b"f": str(turn).encode()}
                    client.zadd(f"z{number}", {"m": turn + 0.5})
                    assert client.zscore(f"z{number}", "m") == turn + 0.5
        return run

    together(*(work(2 + number % 2, number) for number in range(16)))


def test_asyncio_client(connect, url):
    async def main():
        async with redis.asyncio.from_url(url, protocol=connect.protocol, max_connections=400) as client:
            async def one(number):
                await client.set(f"k{number}", number)
                pipeline = client.pipeline(transaction=number % 2 == 0)
                return await pipeline.get(f"k{number}").incr("all").execute()
            answers = await asyncio.gather(*(one(number) for number in range(300)))
            assert [answer[0] for answer in answers] == [str(n).encode() for n in range(300)]
            assert sorted(answer[1] for answer in answers) == list(range(1, 301))

    asyncio.run(asyncio.wait_for(main(), 30))
