"""redis-py, sessions with state: issue 3, both protocols. Pub/sub and caching are in test_redis_py_push.py.

Runs against whatever RESPOOL_TEST_URL names; see conftest.py.
"""

import threading
import time

import pytest
import redis

pytestmark = pytest.mark.stateful


def test_watch_finds_a_conflict(connect):
    client, other = connect(), connect()
    client.set("k", 1)
    with client.pipeline() as pipeline:
        pipeline.watch("k")
        assert pipeline.get("k") == b"1"
        other.set("k", 2)
        pipeline.multi()
        pipeline.set("k", 10)
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("k") == b"2"


def test_watch_without_a_conflict(connect):
    client, other = connect(), connect()
    with client.pipeline() as pipeline:
        pipeline.watch("k", "l")
        other.set("unrelated", 2)
        pipeline.multi()
        pipeline.set("k", 10).rpush("l", 1)
        assert pipeline.execute() == [True, 1]


def test_unwatch_forgets(connect):
    client, other = connect(), connect()
    with client.pipeline() as pipeline:
        pipeline.watch("k")
        pipeline.unwatch()
        other.set("k", 2)
        pipeline.multi()
        pipeline.incr("k")
        assert pipeline.execute() == [3]


def test_counter_with_watch_and_retries(connect, together):
    client = connect(max_connections=64)

    def add():
        def change(pipeline):
            value = int(pipeline.get("n") or 0)
            pipeline.multi()
            pipeline.set("n", value + 1)

        for _ in range(25):
            client.transaction(change, "n")

    together(*[add] * 8)
    assert client.get("n") == b"200"


def test_transaction_one_command_at_a_time(connect):
    client, other = connect(single_connection_client=True), connect()
    assert client.execute_command("MULTI") in (b"OK", "OK", True)
    assert client.execute_command("SET", "k", "v") in (b"QUEUED", "QUEUED", None, False)
    assert other.get("k") is None
    with pytest.raises(redis.ResponseError, match="MULTI calls can not be nested"):
        client.execute_command("MULTI")
    with pytest.raises(redis.ResponseError, match="WATCH inside MULTI is not allowed"):
        client.execute_command("WATCH", "k")
    assert client.execute_command("EXEC")[0] in (b"OK", True)
    assert other.get("k") == b"v"
    with pytest.raises(redis.ResponseError, match="EXEC without MULTI"):
        client.execute_command("EXEC")
    with pytest.raises(redis.ResponseError, match="DISCARD without MULTI"):
        client.execute_command("DISCARD")


def test_a_client_that_vanishes_leaves_nothing(connect):
    for number in range(40):
        gone = connect(single_connection_client=True)
        gone.execute_command("WATCH", "k")
        if number % 2:
            gone.execute_command("MULTI")
            gone.execute_command("SET", "k", "never")
        gone.connection.disconnect()
    client = connect()
    assert client.get("k") is None
    with client.pipeline() as pipeline:
        assert pipeline.set("k", "v").get("k").execute() == [True, b"v"]


def test_blocking_pop_with_a_pusher(connect, together):
    client = connect()

    def pop():
        found = [client.blpop(["none", "queue"], timeout=10) for _ in range(200)]
        assert {pair[0] for pair in found} == {b"queue"}
        return [int(pair[1]) for pair in found]

    def push():
        for number in range(200):
            client.rpush("queue", number)

    assert together(pop, push)[0] == list(range(200))


def test_every_element_goes_to_one_of_many_waiters(connect, together):
    client = connect(max_connections=64)

    def pop():
        return [int(client.blpop("queue", timeout=10)[1]) for _ in range(20)]

    def push():
        for number in range(400):
            client.lpush("queue", number)

    found = together(*[pop] * 20, push)[:-1]
    assert sorted(number for some in found for number in some) == list(range(400))


def test_blocking_commands_time_out(client):
    began = time.monotonic()
    assert client.blpop("none", timeout=0.2) is None
    assert time.monotonic() - began >= 0.19
    assert client.brpop("none", timeout=0.05) is None
    assert client.blmove("none", "other", 0.05) is None
    assert client.bzpopmin("none", timeout=0.05) is None
    assert client.blmpop(0.05, 1, "none", direction="LEFT") is None
    assert not client.xread({"none": "$"}, block=50)


def test_other_blocking_commands_are_served(connect, together):
    client = connect()

    def serve(wait, give):
        return together(wait, give)[0]

    assert serve(lambda: client.brpop("a", 10), lambda: client.rpush("a", "x")) == (b"a", b"x") or connect.protocol == 3
    assert serve(lambda: client.blmove("b", "c", 10), lambda: client.rpush("b", "x")) == b"x"
    assert client.lrange("c", 0, -1) == [b"x"]
    assert list(serve(lambda: client.bzpopmax("z", 10), lambda: client.zadd("z", {"m": 2.5}))) == [b"z", b"m", 2.5]
    assert serve(lambda: client.blmpop(10, 2, "d", "e", direction="LEFT"), lambda: client.rpush("e", "x"))[0] == b"e"


def test_many_blocked_clients_do_not_delay_others(connect, together):
    waiting = connect(max_connections=80)
    client = connect()

    def wait():
        assert waiting.blpop("end", timeout=15) is not None

    def work():
        for number in range(500):
            client.set("k", number)
            assert client.get("k") == str(number).encode()
        client.rpush("end", *range(50))

    together(*[wait] * 50, work)


def test_a_vanished_blocked_client_takes_no_element(connect):
    client = connect()
    for number in range(30):
        gone = connect(single_connection_client=True)
        gone.connection.send_command("BLPOP", "queue", 0)
        wait_until(lambda: blocked(client) == 1)
        gone.connection.disconnect()
        wait_until(lambda: blocked(client) == 0)
        client.rpush("queue", number)
        assert client.lpop("queue") == str(number).encode()


def blocked(client):
    return client.info("clients")["blocked_clients"]


def wait_until(true, seconds=10):
    """Asks again and again, within a bound; each question is a round trip."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "did not come about"


def test_streams_with_groups_and_block(connect, together):
    client = connect()
    client.xgroup_create("x", "g", id="0", mkstream=True)

    def entries(answer):
        if isinstance(answer, dict):
            return [entry for some in answer[b"x"] for entry in some]
        return [entry for _name, some in answer for entry in some]

    def consume(name):
        def run():
            found = []
            while True:
                for number, fields in entries(client.xreadgroup("g", name, {"x": ">"}, count=10, block=10_000)):
                    client.xack("x", "g", number)
                    if fields[b"n"] == b"end":
                        return found
                    found.append(int(fields[b"n"]))
        return run

    def produce():
        for number in range(100):
            client.xadd("x", {"n": number})
        # One more than there are consumers in one batch: each ends by itself.
        for _ in range(30):
            client.xadd("x", {"n": "end"})

    found = together(consume("one"), consume("two"), produce)[:2]
    assert sorted(found[0] + found[1]) == list(range(100))
    assert client.xinfo_groups("x")[0]["name"] == b"g"


def test_xread_block_sees_what_comes_next(connect, together):
    client, other = connect(), connect()

    def read():
        return client.xread({"x": "$"}, block=10_000)

    def add():
        wait_until(lambda: blocked(other) == 1)
        other.xadd("x", {"a": "b"})

    assert b"b" in repr(together(read, add)[0]).encode()


def test_select_and_blocking_together(connect, together):
    four, five = connect("/4"), connect("/5")

    def pop():
        return four.blpop("q", timeout=10)

    def push():
        wait_until(lambda: blocked(five) == 1)
        five.rpush("q", "wrong")
        connect("/4").rpush("q", "right")

    assert together(pop, push)[0][1] == b"right"
    assert five.lrange("q", 0, -1) == [b"wrong"]


def test_client_unblock_by_id(connect, together):
    waiting, client = connect(single_connection_client=True), connect()
    number = waiting.client_id()

    def wait():
        with pytest.raises(redis.ResponseError, match="^UNBLOCKED client unblocked via CLIENT UNBLOCK"):
            waiting.execute_command("BLPOP", "none", 0)

    def unblock():
        wait_until(lambda: client.client_unblock(number, error=True))

    together(wait, unblock)
    assert waiting.ping()


def test_client_list_info_and_kill(connect):
    client, other = connect(single_connection_client=True, client_name="asks"), connect(single_connection_client=True, client_name="goes")
    number = other.client_id()
    listed = {entry["name"]: entry for entry in client.client_list()}
    assert int(listed["goes"]["id"]) == number and "asks" in listed
    assert listed["goes"]["cmd"] and listed["goes"]["addr"].startswith("127.0.0.1:")
    assert client.client_info()["name"] == "asks"
    assert [int(entry["id"]) for entry in client.client_list(client_id=[number])] == [number]
    assert client.client_kill_filter(_id=number) == 1
    with pytest.raises(redis.ConnectionError):
        other.connection.send_command("PING")
        other.connection.read_response()
    with pytest.raises(redis.ResponseError, match="No such client"):
        client.client_kill("127.0.0.1:1")


def test_reset_takes_everything_back(url):
    # RESET goes back to RESP2 as well, which the library does not expect in mid-session.
    client = redis.Redis.from_url(url + "/2", protocol=2, single_connection_client=True, client_name="named")
    client.set("k", "two")
    client.execute_command("MULTI")
    assert client.execute_command("RESET") in ("RESET", b"RESET")
    assert client.client_getname() is None
    assert client.execute_command("GET", "k") is None
    assert client.execute_command("CLIENT", "NO-EVICT", "ON") in (b"OK", True)


def test_wait_counts_no_replica(client):
    client.set("k", "v")
    assert client.wait(0, 100) == 0
    assert client.wait(1, 50) == 0


def test_script_kill_gets_through(connect, together):
    client, other = connect(), connect()

    def run():
        with pytest.raises(redis.ResponseError, match="[Ss]cript killed by user|Error running script"):
            client.eval("while true do end", 0)

    def kill():
        # Until the script has begun there is nothing to kill.
        def killed():
            try:
                return other.script_kill()
            except redis.ResponseError as error:
                assert "NOTBUSY" in str(error) or "BUSY" in str(error)
                return False
        wait_until(killed)

    together(run, kill)
    assert client.ping()
    # Nobody is told afterwards that Redis was busy.
    for _ in range(20):
        assert client.blpop("none", timeout=0.01) is None


def test_monitor_sees_commands(connect):
    client, watcher = connect(), connect()
    with watcher.monitor() as monitor:
        client.set("seen", "v")
        client.get("seen")
        lines = monitor.listen()
        seen = []
        while not seen or not seen[-1].startswith("GET seen"):
            seen.append(next(lines)["command"])
            assert len(seen) < 100
    assert "SET seen v" in seen


def test_waiters_and_threads_share_one_pool(connect, together):
    """All kinds at once on one ConnectionPool: nobody gets what another asked for."""
    client = connect(max_connections=100)
    begin = threading.Barrier(24)

    def plain(number):
        begin.wait(10)
        for turn in range(60):
            assert client.set(f"p{number}", turn) and client.get(f"p{number}") == str(turn).encode()

    def block(number):
        begin.wait(10)
        for turn in range(30):
            client.rpush(f"b{number}", turn)
            assert client.blpop(f"b{number}", 5)[1] == str(turn).encode()

    def transact(number):
        begin.wait(10)
        for turn in range(30):
            with client.pipeline() as pipeline:
                pipeline.watch(f"w{number}")
                pipeline.multi()
                assert pipeline.incr(f"w{number}").echo(f"{number}").execute() == [turn + 1, f"{number}".encode()]

    kinds = [plain, block, transact]
    together(*(lambda kind=kinds[n % 3], n=n: kind(n) for n in range(24)))
