"""redis-py by TLS, with and without a certificate of its own.

RESPOOL_TEST_TLS names the port of a respool that speaks TLS, RESPOOL_TEST_CERTIFICATES the directory of the
certificates that suites.py has made. The user "app" has the password "secret"; so does the certificate app.pem.
"""

import asyncio
import hashlib
import os
import random
import ssl
import threading

import pytest
import redis
import redis.asyncio

PORT = int(os.environ["RESPOOL_TEST_TLS"])
DIRECTORY = os.environ["RESPOOL_TEST_CERTIFICATES"]
WAIT_SECONDS = 20
LOGIN = {"username": "app", "password": "secret"}


def file(name):
    return os.path.join(DIRECTORY, name)


def options(certificate=None, authority="authority", **more):
    shown = {"ssl_certfile": file(f"{certificate}.pem"), "ssl_keyfile": file(f"{certificate}.key")} if certificate else {}
    return {
        "host": "localhost", "port": PORT, "ssl": True, "ssl_ca_certs": file(f"{authority}.pem"),
        "socket_timeout": WAIT_SECONDS, **shown, **more,
    }


def connect(*arguments, **more):
    return redis.Redis(**options(*arguments, **more))


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_values_of_every_size_come_back_as_they_were(protocol, version):
    with connect(**LOGIN, protocol=protocol, ssl_min_version=version) as client:
        for size in [0, 1, 16_383, 16_384, 16_385, 65_537, 1_000_003, 16_000_001]:
            value = random.Random(size).randbytes(size)
            client.set("large", value)
            assert hashlib.sha1(client.get("large")).digest() == hashlib.sha1(value).digest(), size


def test_a_pipeline_is_answered_in_order():
    with connect(**LOGIN) as client:
        values = [random.Random(i).randbytes(i * 37) for i in range(400)]
        pipeline = client.pipeline(transaction=False)
        for index, value in enumerate(values):
            pipeline.set(f"k{index}", value).get(f"k{index}")
        assert pipeline.execute()[1::2] == values


def test_who_shows_no_certificate_logs_in_by_a_password():
    with connect() as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with connect(username="app", password="wrong") as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with connect(**LOGIN) as client:
        assert client.client_info()["user"] == "app"


def test_a_certificate_is_the_login_of_its_user():
    with connect("app") as client:
        assert client.ping() and client.client_info()["user"] == "app"


def test_a_certificate_of_nobody_needs_a_password():
    with connect("nobody") as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with connect("nobody", **LOGIN) as client:
        assert client.ping()


@pytest.mark.parametrize("certificate", ["stranger", "expired"])
def test_a_certificate_that_is_not_right_is_refused(certificate):
    with connect(certificate, **LOGIN) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_client_refuses_an_authority_and_a_name_that_it_does_not_know():
    with connect(authority="other", **LOGIN) as client, pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        client.ping()
    with redis.Redis(**{**options(**LOGIN), "host": "127.0.0.1"}) as client, pytest.raises(redis.ConnectionError, match="(?i)mismatch"):
        client.ping()


def test_messages_and_blocking_commands_come_through():
    with connect(**LOGIN) as client, connect(**LOGIN) as other:
        subscriber = client.pubsub()
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=WAIT_SECONDS)["type"] == "subscribe"
        assert other.publish("news", "x" * 100_000) == 1
        assert subscriber.get_message(timeout=WAIT_SECONDS)["data"] == b"x" * 100_000
        client.delete("list")
        pusher = threading.Timer(0.2, lambda: other.rpush("list", "a"))
        pusher.start()
        assert client.blpop("list", timeout=WAIT_SECONDS) == (b"list", b"a")
        pusher.join()


def test_two_hundred_clients_of_asyncio_at_a_time():
    async def one(number):
        client = redis.asyncio.Redis(**options("app"))
        try:
            await client.set(f"n{number}", number)
            return await client.get(f"n{number}")
        finally:
            await client.aclose()

    async def all_of_them():
        return await asyncio.gather(*(one(number) for number in range(200)))

    assert asyncio.run(all_of_them()) == [str(number).encode() for number in range(200)]
