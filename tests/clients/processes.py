"""The processes of a run: real Redis and respool, each on a port of its own.

Owns starting them, waiting until they say that they listen, and ending them by
their process id. A cluster is three of them. Used by suites.py and differential.py; runs no test itself.
"""

import json
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
START_SECONDS = 20
END_SECONDS = 15
PORT_TRIES = 5


class StartError(Exception):
    """A process ended, or said nothing in time, instead of listening."""


def free_port():
    """A port that the system had free a moment ago, for programs that cannot pick one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name):
    found = shutil.which(name)
    if not found:
        raise StartError(f"{name} is not installed (Debian, Ubuntu: apt-get install redis)")
    return found


class Process:
    """One child process whose output lines are kept, and searched while it starts."""

    def __init__(self, argv, **popen):
        self.lines = []
        self._arriving = queue.Queue()
        self.child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", **popen,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.append(line.rstrip("\n"))
            self._arriving.put(line)
        self._arriving.put(None)

    def wait_for_line(self, wanted, seconds=START_SECONDS):
        """The first line for which `wanted` gives something true, as what it gave."""
        while True:
            try:
                line = self._arriving.get(timeout=seconds)
            except queue.Empty:
                raise StartError(f"nothing was said in {seconds} s: {self.tail()}") from None
            if line is None:
                raise StartError(f"ended while starting: {self.tail()}")
            found = wanted(line)
            if found:
                return found

    def tail(self, lines=20):
        return " | ".join(self.lines[-lines:])

    def end(self):
        """Asks the process to end, and insists when it does not. Returns its exit code."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait(END_SECONDS)
        self._reader.join(END_SECONDS)
        return self.child.returncode


class Redis:
    """A redis-server without persistence in a directory that goes when it ends."""

    def __init__(self, *arguments):
        self.directory = tempfile.TemporaryDirectory(prefix="respool-clients-")
        for attempt in range(PORT_TRIES):
            self.port = free_port()
            self.process = Process([
                program("redis-server"), "--bind", "127.0.0.1", "--port", str(self.port),
                "--dir", self.directory.name, "--save", "", "--appendonly", "no",
                # Short blocking time-outs are noticed at the clock's pace.
                "--hz", "100", "--enable-debug-command", "local",
                # A script may be killed once it has run this long.
                "--busy-reply-threshold", "300", *arguments,
            ])
            try:
                self.process.wait_for_line(lambda line: "Ready to accept connections" in line)
                break
            except StartError:
                self.process.end()
                if attempt == PORT_TRIES - 1:
                    raise
        self.url = f"redis://127.0.0.1:{self.port}"

    def end(self):
        self.process.end()
        self.directory.cleanup()


class Cluster:
    """Primaries that have a third of the slots each."""

    NODES, SLOTS = 3, 16384

    def __init__(self):
        self.nodes = []
        try:
            for number in range(self.NODES):
                bus = free_port()
                self.nodes.append(Redis("--cluster-enabled", "yes", "--cluster-port", str(bus)))
                ends = number * self.SLOTS // self.NODES, (number + 1) * self.SLOTS // self.NODES - 1
                self._ask(number, "CLUSTER", "ADDSLOTSRANGE", *map(str, ends))
                self._ask(number, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
                if number:
                    self._ask(0, "CLUSTER", "MEET", "127.0.0.1", str(self.nodes[number].port), str(bus))
            self._wait()
        except StartError:
            self.end()
            raise
        self.url = "redis-cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.urls = [node.url for node in self.nodes]

    def _ask(self, number, *command):
        port = str(self.nodes[number].port)
        return subprocess.run([program("redis-cli"), "-p", port, *command], capture_output=True, text=True, check=True).stdout

    def _wait(self):
        wanted = ("cluster_state:ok", f"cluster_slots_ok:{self.SLOTS}", f"cluster_known_nodes:{self.NODES}")
        until = time.monotonic() + START_SECONDS
        while not all(word in self._ask(number, "CLUSTER", "INFO") for number in range(self.NODES) for word in wanted):
            if time.monotonic() > until:
                raise StartError("the nodes do not become a cluster")
            time.sleep(0.05)

    def end(self):
        for node in self.nodes:
            node.end()


def respool_binary():
    """The binary under test: RESPOOL_BIN, or what `cargo build --release` left."""
    path = os.environ.get("RESPOOL_BIN") or os.path.join(ROOT, "target", "release", "respool")
    if not os.access(path, os.X_OK):
        raise StartError(f"no gateway binary at {path}: build it, or set RESPOOL_BIN")
    return path


class Respool:
    """The gateway in front of one Redis, on a port that the system chose."""

    def __init__(self, upstream_url, extra_config="", listen="127.0.0.1:0"):
        self.directory = tempfile.TemporaryDirectory(prefix="respool-clients-")
        config = os.path.join(self.directory.name, "respool.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write('[log]\nformat = "json"\n' + extra_config)
        self.process = Process([
            respool_binary(), "--config", config, "--listen", listen,
            "--upstream", upstream_url,
        ])
        try:
            # The address for metrics, where there is one, is told before the other.
            address = self.process.wait_for_line(_listening)
            self.port = int(address.rpartition(":")[2])
            self.url = "redis://" + address
            self.metrics_url = next(("http://" + metrics for metrics in map(_metrics, self.process.lines) if metrics), None)
        except StartError:
            self.end()
            raise

    def end(self):
        """Ends the gateway; anything but exit code 0 comes back as a complaint."""
        code = self.process.end()
        self.directory.cleanup()
        return None if code == 0 else f"respool ended with {code}: {self.process.tail()}"


def _fields(line):
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return {**entry, **entry.get("fields", {})}


def _listening(line):
    fields = _fields(line)
    return fields.get("listen") if fields.get("message") == "listening" else None


def _metrics(line):
    return _fields(line).get("metrics")
