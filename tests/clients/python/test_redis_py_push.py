"""redis-py, what arrives without being asked for: pub/sub, keyspace events, client-side caching (issue 3).

Runs against whatever RESPOOL_TEST_URL names; see conftest.py.
"""

import asyncio

import pytest
import redis
import redis.asyncio
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

from conftest import messages

pytestmark = pytest.mark.stateful


def kinds(found):
    return [(message["type"], message["channel"], message["data"]) for message in found]


def test_two_subscribers_and_patterns(connect):
    client = connect()
    with client.pubsub() as one, client.pubsub() as two:
        one.subscribe("news", "sport")
        two.psubscribe("n*")
        two.subscribe("sport")
        assert kinds(messages(one, 2)) == [("subscribe", b"news", 1), ("subscribe", b"sport", 2)]
        assert kinds(messages(two, 2)) == [("psubscribe", b"n*", 1), ("subscribe", b"sport", 2)]
        assert client.publish("news", "a") == 2
        assert client.publish("sport", b"\x00\r\n") == 2
        assert client.publish("nothing", "c") == 1
        assert client.publish("else", "d") == 0
        assert kinds(messages(one, 2)) == [("message", b"news", b"a"), ("message", b"sport", b"\x00\r\n")]
        found = messages(two, 3)
        assert [(m["type"], m["pattern"], m["channel"]) for m in found] == [
            ("pmessage", b"n*", b"news"), ("message", None, b"sport"), ("pmessage", b"n*", b"nothing"),
        ]
        assert dict(client.pubsub_numsub("news", "sport")) == {b"news": 1, b"sport": 2}
        assert client.pubsub_numpat() == 1
        assert sorted(client.pubsub_channels("*")) == [b"news", b"sport"]


def test_order_of_many_messages(connect):
    client = connect()
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("c")
        assert listener.get_message(timeout=10) is None or True
        pipeline = client.pipeline(transaction=False)
        for number in range(2000):
            pipeline.publish("c", number)
        assert set(pipeline.execute()) == {1}
        found = []
        while len(found) < 2000:
            message = listener.get_message(timeout=10)
            assert message, f"{len(found)} came"
            found.append(int(message["data"]))
        assert found == list(range(2000))


def test_unsubscribing_and_subscribing_again(connect):
    client = connect()
    with client.pubsub() as listener:
        listener.subscribe("a")
        listener.psubscribe("b*")
        messages(listener, 2)
        listener.unsubscribe("a")
        listener.punsubscribe("b*")
        assert [kind[2] for kind in kinds(messages(listener, 2))] == [1, 0]
        assert client.publish("a", "unheard") == 0
        listener.subscribe("a")
        messages(listener, 1)
        assert client.publish("a", "heard") == 1
        assert messages(listener, 1)[0]["data"] == b"heard"


def test_ping_of_a_subscriber(connect):
    with connect().pubsub() as listener:
        listener.subscribe("a")
        messages(listener, 1)
        listener.ping("are you there")
        assert messages(listener, 1)[0]["data"] == b"are you there"


def test_a_subscriber_of_resp2_may_do_little_else(url):
    with redis.Redis.from_url(url, protocol=2) as client, client.pubsub() as listener:
        listener.subscribe("a")
        messages(listener, 1)
        with pytest.raises(redis.ResponseError, match="Can't execute 'get': only .* are allowed in this context"):
            listener.execute_command("GET", "k")
            listener.parse_response(timeout=10)


def test_subscribers_that_vanish_are_forgotten(connect):
    client = connect()
    for _ in range(30):
        listener = client.pubsub()
        listener.subscribe("a")
        messages(listener, 1)
        listener.connection.disconnect()
        listener.close()
    with client.pubsub() as listener:
        listener.subscribe("b")
        messages(listener, 1)
        assert client.publish("b", "x") == 1
        assert messages(listener, 1)[0]["data"] == b"x"


def test_sharded_subscriber(connect):
    client = connect()
    with client.pubsub() as listener:
        listener.ssubscribe("shard")
        messages(listener, 1)
        assert client.execute_command("SPUBLISH", "shard", "m") == 1
        assert kinds(messages(listener, 1)) == [("smessage", b"shard", b"m")]


def test_keyspace_events(connect):
    client = connect()
    client.config_set("notify-keyspace-events", "KEA")
    try:
        with client.pubsub() as listener:
            listener.psubscribe("__keyspace@0__:watched")
            messages(listener, 1)
            client.set("watched", 1)
            client.delete("watched")
            assert [m["data"] for m in messages(listener, 2)] == [b"set", b"del"]
    finally:
        client.config_set("notify-keyspace-events", "")


def test_listener_in_a_thread(connect):
    client = connect()
    found = []
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(c=found.append)
    thread = listener.run_in_thread(sleep_time=0.01, daemon=True)
    try:
        for number in range(2000):
            client.publish("c", number)
            if found:
                break
        assert found and found[0]["channel"] == b"c"
    finally:
        thread.stop()
        thread.join(10)


def test_asyncio_subscriber(connect, url):
    async def main():
        async with redis.asyncio.from_url(url, protocol=connect.protocol) as client, client.pubsub() as listener:
            await listener.subscribe("a")
            assert (await listener.get_message(timeout=10))["type"] == "subscribe"
            for number in range(50):
                assert await client.publish("a", number) == 1
            for number in range(50):
                assert (await listener.get_message(timeout=10))["data"] == str(number).encode()

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.fixture
def caching(url, monkeypatch):
    """Makes clients that cache what they read."""
    # The library asks for 7.4 of its own accord; tracking is as old as Redis 6.
    monkeypatch.setattr(CacheProxyConnection, "MIN_ALLOWED_VERSION", "6.0.0")
    made = []

    def make():
        made.append(redis.Redis.from_url(url, protocol=3, cache_config=CacheConfig()))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_cached_values_are_invalidated(caching, url):
    client = caching()
    with redis.Redis.from_url(url) as other:
        cache = client.get_cache()
        for turn in range(20):
            other.set("k", turn)
            # The push arrives before the next answer on the same connection, as it does from Redis.
            client.ping()
            assert client.get("k") == str(turn).encode()
            assert client.get("k") == str(turn).encode()
            assert cache.size == 1


def test_caching_clients_side_by_side(caching, together):
    clients = [caching() for _ in range(8)]

    def work(client, number):
        def run():
            for turn in range(50):
                client.set(f"own{number}", turn)
                client.ping()
                assert client.get(f"own{number}") == str(turn).encode()
                client.get("shared")
        return run

    together(*(work(client, number) for number, client in enumerate(clients)))


def test_invalidations_redirected_to_a_subscriber(url):
    """Client-side caching as RESP2 has it: another connection of the client hears what is no longer true."""
    with redis.Redis.from_url(url, protocol=2) as client, client.pubsub() as listener:
        listener.subscribe("__redis__:invalidate")
        messages(listener, 1)
        listener.connection.send_command("PING")
        assert messages(listener, 1)[0]["type"] == "pong"
        ear = next(entry for entry in client.client_list() if entry["sub"] == "1")
        with redis.Redis.from_url(url, protocol=2, single_connection_client=True) as reader:
            reader.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", ear["id"])
            reader.get("cached")
            client.set("cached", 1)
            assert messages(listener, 1)[0]["data"] == [b"cached"]
