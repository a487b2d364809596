"""Runs every suite against Redis directly and through respool, and adds up what passed.

Called by `run` in its Python environment, as `suites.py base|all`. Two Redis of one version:
the suites and the differential test meet the one directly and the other behind the gateway.
Ends with `N passed, N failed`.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

import redis

import processes
from tls.authority import Authority

SUITE_SECONDS = 420
SEQUENCES = 3000
CLUSTER_SEQUENCES = 1000
# The same sequences every time, so that a failure is that of the change at hand; `differential.py` by itself
# plays others whenever it is run.
SEED = 1
# The suites are only worth something on more than one upstream connection.
GATEWAY_CONFIG = ""
# Both sides speak TLS; the password of "app" is "secret".
SECURE_CONFIG = """
[tls]
cert_file = "{own}"
key_file = "{key}"
client_auth = "optional"
client_ca_file = "{ca}"
user_from_certificate = "CN"
[upstream.tls]
ca_file = "{ca}"
cert_file = "{own}"
key_file = "{key}"
[auth.users]
app = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
"""


class Count:
    """What passed and what failed so far."""

    def __init__(self):
        self.passed = self.failed = 0

    def add(self, what, passed, failed):
        self.passed += passed
        self.failed += failed
        print(f"--- {what}: {passed} passed, {failed} failed", flush=True)


def run(argv, **environment):
    """One suite; whether it ended by itself, and well."""
    try:
        return subprocess.run(
            argv, cwd=processes.HERE, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            timeout=SUITE_SECONDS, check=False,
        ).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"{argv[0]} took more than {SUITE_SECONDS} s", flush=True)
        return False


def from_report(path, good):
    """What a JUnit report counts; a suite that failed without a failed test counts as one."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return 0, 1
    cases = [case for case in cases if case.find("skipped") is None]
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    passed = len(cases) - failed
    return passed, failed or int(not good or not passed)


def python_suite(url, classes, report, subject, folder="python", **environment):
    marks = ["-m", "base"] if classes == "base" else []
    good = run(
        [sys.executable, "-m", "pytest", "--tb=short", f"--junitxml={report}", *marks, folder],
        RESPOOL_TEST_URL=url, RESPOOL_TEST_SUBJECT=subject, PYTHONDONTWRITEBYTECODE="1", **environment,
    )
    return from_report(report, good)


def node_suite(url, classes, report, subject, folder="node", **environment):
    names = ["--test-name-pattern=^base: "] if classes == "base" else []
    good = run(
        [
            "node", "--test", *names, "--test-reporter=dot", "--test-reporter-destination=stdout",
            "--test-reporter=junit", f"--test-reporter-destination={report}", f"{folder}/test_node.mjs",
        ],
        RESPOOL_TEST_URL=url, RESPOOL_TEST_SUBJECT=subject, NODE_NO_WARNINGS="1",
        RESPOOL_TEST_NODE=os.environ.get("RESPOOL_TEST_NODE", processes.ROOT + "/target/clients/node"), **environment,
    )
    return from_report(report, good)


def differential(sequences, classes, *where):
    """`where`: the URLs, or what is to be started."""
    done = subprocess.run(
        [sys.executable, "differential.py", "--seed", str(SEED), "--sequences", str(sequences), "--classes", classes, *where],
        cwd=processes.HERE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        timeout=SUITE_SECONDS, check=False,
    )
    print(done.stdout, end="", flush=True)
    words = done.stdout.split("\n")[-2].split() if "\n" in done.stdout else []
    if len(words) == 4 and words[1] == "passed,":
        return int(words[0]), int(words[2])
    return 0, 1


def left_behind(upstream):
    """Connections at the upstream that still have what a session that is gone began."""
    with redis.Redis.from_url(upstream) as client:
        until = time.monotonic() + 10
        while True:
            stale = [entry for entry in client.client_list() if busy(entry)]
            if not stale or time.monotonic() > until:
                return stale


def busy(entry):
    subscribed = any(int(entry.get(kind, 0)) for kind in ("sub", "psub", "ssub"))
    return subscribed or int(entry["multi"]) >= 0 or set(entry["flags"]) & set("xbtO")


def console_suite():
    """The web console in a browser, on a gateway and a Redis of its own, which the suite kills."""
    upstream = processes.Redis()
    try:
        gateway = processes.Respool(upstream.url, '[metrics]\nlisten = "127.0.0.1:0"\n')
        try:
            return run(
                ["node", "--test", "node/test_console.mjs"], NODE_NO_WARNINGS="1",
                RESPOOL_TEST_URL=gateway.url, RESPOOL_TEST_CONSOLE=gateway.metrics_url,
                RESPOOL_TEST_UPSTREAM_PID=str(upstream.process.child.pid),
                RESPOOL_TEST_NODE=os.environ.get("RESPOOL_TEST_NODE", processes.ROOT + "/target/clients/node"),
            )
        finally:
            gateway.end()
    finally:
        upstream.end()


def secure_suites(count, reports):
    """Clients by TLS with and without certificates, on a gateway of their own whose upstream speaks TLS too."""
    with tempfile.TemporaryDirectory(prefix="respool-clients-") as directory:
        authority, other = Authority(directory, "authority"), Authority(directory, "other")
        own, key = authority.issue("own", "localhost")
        for name in ("app", "nobody"):
            authority.issue(name, name)
        authority.issue("expired", "app", expired=True)
        other.issue("stranger", "app")
        port = processes.free_port()
        upstream = processes.Redis(
            "--tls-port", str(port), "--tls-cert-file", own, "--tls-key-file", key,
            "--tls-ca-cert-file", authority.certificate, "--tls-auth-clients", "yes",
        )
        try:
            gateway = processes.Respool(
                f"rediss://localhost:{port}", SECURE_CONFIG.format(own=own, key=key, ca=authority.certificate), "tls://127.0.0.1:0"
            )
            try:
                environment = {"RESPOOL_TEST_TLS": str(gateway.port), "RESPOOL_TEST_CERTIFICATES": directory}
                python, node = f"{reports}/python-tls.xml", f"{reports}/node-tls.xml"
                count.add("python clients, TLS", *python_suite(gateway.url, "all", python, "respool", "tls", **environment))
                count.add("node clients, TLS", *node_suite(gateway.url, "all", node, "respool", "tls", **environment))
            finally:
                complaint = gateway.end()
                print(complaint or "", end="\n" if complaint else "")
                count.add("the gateway with TLS ends well", int(not complaint), int(bool(complaint)))
        finally:
            upstream.end()


def suites(count, classes, direct, upstream, gateway):
    with tempfile.TemporaryDirectory(prefix="respool-clients-") as reports:
        for name, url in [("direct", direct.url), ("respool", gateway.url)]:
            for kind, suite in [("python", python_suite), ("node", node_suite)]:
                print(f"=== {kind} clients, {name}", flush=True)
                count.add(f"{kind} clients, {name}", *suite(url, classes, f"{reports}/{kind}-{name}.xml", name))
        print("=== clients by TLS, respool", flush=True)
        secure_suites(count, reports)
    print("=== the web console in a browser", flush=True)
    good = console_suite()
    count.add("the web console in a browser", int(good), int(not good))
    print("=== random sequences, respool against Redis", flush=True)
    urls = "--direct", direct.url, "--through", gateway.url, "--upstream", upstream.url
    count.add("random sequences", *differential(SEQUENCES, classes, *urls))
    print("=== random sequences, a cluster behind respool against Redis", flush=True)
    count.add("random sequences, cluster", *differential(CLUSTER_SEQUENCES, classes, "--cluster"))
    print("=== random sequences of an ACL user, respool against Redis", flush=True)
    count.add("random sequences of an ACL user", *differential(SEQUENCES // 3, classes, "--rights"))
    stale = left_behind(upstream.url)
    print(*stale, sep="\n", end="\n" if stale else "")
    count.add("nothing is left at the upstream", int(not stale), int(bool(stale)))


def main():
    classes = sys.argv[1] if len(sys.argv) > 1 else "all"
    if classes not in ("base", "all"):
        sys.exit("usage: run [base|all]")
    count, started = Count(), []
    try:
        started += [processes.Redis(), processes.Redis()]
        gateway = processes.Respool(started[1].url, GATEWAY_CONFIG)
        started.append(gateway)
        suites(count, classes, *started)
        started.remove(gateway)
        complaint = gateway.end()
        print(complaint or "", end="\n" if complaint else "")
        count.add("the gateway drains and ends well", int(not complaint), int(bool(complaint)))
    except processes.StartError as error:
        print(error)
        count.add("starting the processes", 0, 1)
    finally:
        for process in reversed(started):
            process.end()
    print(f"{count.passed} passed, {count.failed} failed")
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
