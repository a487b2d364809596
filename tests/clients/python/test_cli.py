"""redis-cli and redis-benchmark, the programs that come with Redis.

Runs against whatever RESPOOL_TEST_URL names; see conftest.py.
"""

import re
import subprocess
from urllib.parse import urlparse

import pytest
import redis

from processes import Process
from wire import encode

RUN_SECONDS = 120


@pytest.fixture
def cli(url):
    """Runs one of the programs against the URL; hands back what it printed."""

    def run(*arguments, program="redis-cli", stdin=None, good=True):
        address = urlparse(url)
        done = subprocess.run(
            [program, "-h", address.hostname, "-p", str(address.port), *arguments],
            input=stdin, capture_output=True, timeout=RUN_SECONDS, check=False,
            **({} if stdin is None else {}),
        )
        assert (done.returncode == 0) == good, done.stderr or done.stdout
        return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")

    return run


@pytest.mark.base
def test_plain_commands(cli):
    assert cli("SET", "k", "a b") == "OK\n"
    assert cli("GET", "k") == "a b\n"
    assert cli("-n", "3", "GET", "k") == "\n"
    assert cli("--no-raw", "LRANGE", "none", "0", "-1") == "(empty array)\n"
    assert "unknown command" in cli("NOSUCH")
    assert cli("-r", "5", "INCR", "n") == "1\n2\n3\n4\n5\n"


@pytest.mark.base
def test_protocol_3(cli):
    cli("HSET", "h", "a", "1", "b", "2")
    assert cli("-3", "--no-raw", "HGETALL", "h") == '1# "a" => "1"\n2# "b" => "2"\n'
    cli("ZADD", "z", "1.5", "a")
    assert cli("-3", "--no-raw", "ZSCORE", "z", "a") == "(double) 1.5\n"
    assert cli("-2", "--no-raw", "ZSCORE", "z", "a") == '"1.5"\n'


@pytest.mark.base
def test_commands_from_standard_input(cli):
    lines = b"SET k 1\nINCR k\nSELECT 2\nGET k\nSELECT 0\nGET k\nNOSUCH\n"
    answers = cli(stdin=lines).split("\n")
    assert answers[:6] == ["OK", "2", "OK", "", "OK", "2"] and "unknown command" in answers[6]


@pytest.mark.stateful
def test_transaction_line_by_line(cli):
    answers = cli(stdin=b"MULTI\nSET k 1\nINCR k\nEXEC\nMULTI\nSET k 9\nDISCARD\nGET k\nRESET\nPING\n")
    assert answers.split() == "OK QUEUED QUEUED OK 2 OK QUEUED OK 2 RESET PONG".split()


@pytest.mark.base
def test_pipe(cli, url):
    requests = b"".join(encode("SET", f"k{number}", f"v{number}") for number in range(50_000))
    told = cli("--pipe", stdin=requests)
    assert "errors: 0, replies: 50000" in told
    with redis.Redis.from_url(url) as client:
        assert client.dbsize() == 50_000 and client.get("k49999") == b"v49999"


@pytest.mark.base
def test_pipe_counts_errors(cli):
    requests = encode("SET", "k", "v") + encode("LPUSH", "k", "x") + encode("NOSUCH") + encode("GET", "k")
    assert "errors: 2, replies: 4" in cli("--pipe", stdin=requests, good=False)


@pytest.mark.base
def test_scan_and_bigkeys(cli, url):
    with redis.Redis.from_url(url) as client:
        client.mset({f"key:{number}": number for number in range(3000)})
        client.rpush("long", *range(500))
        client.set("big", "x" * 5000)
    assert set(cli("--scan", "--pattern", "key:*").split()) == {f"key:{n}" for n in range(3000)}
    told = cli("--bigkeys")
    assert re.search(r"Biggest string found \S*big\S* has 5000 bytes", told), told
    assert re.search(r"Biggest +list found \S*long\S* has 500 items", told), told
    assert "Biggest" in cli("--memkeys")


@pytest.mark.base
def test_latency(cli):
    # Raw output is one line after one interval.
    least, most, mean, samples = cli("--csv", "--latency", "-i", "1").strip().split(",")
    assert float(least) <= float(mean) <= float(most) and int(samples) > 10


@pytest.fixture
def background(url):
    """Starts redis-cli with arguments and ends it, by its id, after the test."""
    started = []

    def start(*arguments):
        address = urlparse(url)
        started.append(Process(["redis-cli", "-h", address.hostname, "-p", str(address.port), *arguments]))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.mark.stateful
def test_monitor(background, url):
    monitor = background("MONITOR")
    monitor.wait_for_line(lambda line: line == "OK\n")
    with redis.Redis.from_url(url) as client:
        client.set("seen", "by monitor")
    monitor.wait_for_line(lambda line: '"SET" "seen" "by monitor"' in line)


@pytest.mark.stateful
def test_subscribe(background, url):
    subscriber = background("SUBSCRIBE", "c")
    subscriber.wait_for_line(lambda line: line in ("1\n", "(integer) 1\n"))
    with redis.Redis.from_url(url) as client:
        assert client.publish("c", "hello there") == 1
    subscriber.wait_for_line(lambda line: line == "hello there\n")
    assert subscriber.lines[-3:] == ["message", "c", "hello there"]


@pytest.mark.base
@pytest.mark.parametrize("depth", ["1", "16"])
def test_benchmark(cli, depth):
    told = cli(
        "-t", "set,get,incr,lpush,mset", "-c", "500", "-P", depth, "-n", "50000", "-q",
        program="redis-benchmark",
    )
    assert "rror" not in told, told
    for test in ["SET:", "GET:", "INCR:", "LPUSH:", "MSET (10 keys):"]:
        assert f"{test} " in told
    assert told.count("requests per second") == 5


@pytest.mark.base
def test_benchmark_of_any_command(cli):
    told = cli("-c", "50", "-n", "5000", "-q", "-r", "100", "EVAL", "return redis.call('INCR', KEYS[1])", "1", "n:__rand_int__", program="redis-benchmark")
    assert "rror" not in told and "requests per second" in told
