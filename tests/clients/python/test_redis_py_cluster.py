"""redis-py's cluster client, at the address of a gateway that shows itself as a cluster of one node.

Starts a cluster and a gateway of its own.
"""

import pytest
import redis
from redis.cluster import RedisCluster

import processes

pytestmark = pytest.mark.stateful
KEYS = [f"key:{number}" for number in range(60)]


@pytest.fixture(scope="module")
def port():
    cluster = processes.Cluster()
    gateway = processes.Respool(cluster.url, '[cluster]\npresent_as = "cluster"\n')
    yield gateway.port
    complaint = gateway.end()
    cluster.end()
    assert complaint is None


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_cluster_client_takes_it_for_a_cluster(port, protocol):
    with RedisCluster(host="127.0.0.1", port=port, protocol=protocol) as client:
        client.flushall()
        assert [node.port for node in client.get_nodes()] == [port]
        assert client.cluster_info()["cluster_state"] == "ok"
        assert client.cluster_keyslot("key:1") == client.keyslot("key:1")
        pipeline = client.pipeline()
        for number, key in enumerate(KEYS):
            pipeline.set(key, number)
        assert all(pipeline.execute())
        assert client.mget_nonatomic(KEYS) == [b"%d" % number for number in range(len(KEYS))]
        assert sorted(client.scan_iter(count=7)) == sorted(key.encode() for key in KEYS)
        assert client.eval("return redis.call('incr', KEYS[1])", 1, KEYS[1]) == 2
        with client.pubsub() as listener:
            listener.subscribe("news")
            assert listener.get_message(timeout=20)["type"] == "subscribe"
            client.publish("news", "a")
            assert listener.get_message(timeout=20)["data"] == b"a"


def test_a_plain_client_uses_the_same_address(port):
    with redis.Redis(port=port) as client:
        client.flushall()
        client.mset(dict.fromkeys(KEYS, "v"))
        assert client.dbsize() == len(KEYS)
