"""Fixtures of the Python suites: the URL under test, clean before each test.

RESPOOL_TEST_URL is a Redis or respool in front of one; the suites cannot tell which.
"""

import os
import threading

import pytest
import redis

WAIT_SECONDS = 20


@pytest.fixture
def url():
    """Where to connect; everything there is deleted first."""
    url = os.environ["RESPOOL_TEST_URL"]
    with redis.Redis.from_url(url) as client:
        client.flushall()
        client.script_flush()
    return url


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def connect(request, url):
    """Makes clients of one protocol version, and closes them after the test."""
    made = []

    def make(suffix="", **options):
        client = redis.Redis.from_url(
            url + suffix, protocol=request.param, socket_timeout=WAIT_SECONDS, **options
        )
        made.append(client)
        return client

    make.protocol = request.param
    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(connect):
    return connect()


@pytest.fixture
def together():
    """Runs functions at once in threads of their own and hands back what they returned."""

    def run(*functions):
        results = [None] * len(functions)

        def call(index):
            try:
                results[index] = functions[index]()
            except Exception as error:
                results[index] = error

        threads = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(len(functions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive(), "a client hangs"
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    return run


def messages(subscriber, count):
    """The next `count` messages of a redis-py subscriber, confirmations included."""
    found = []
    while len(found) < count:
        message = subscriber.get_message(timeout=WAIT_SECONDS)
        assert message is not None, f"only {found} came"
        found.append(message)
    return found
