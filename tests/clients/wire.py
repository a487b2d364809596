"""Raw RESP over a socket: requests out as bytes, replies in as the bytes they came in.

Finds where a reply ends and decodes nothing, so that two answers can be compared
byte for byte. Used by differential.py.
"""

import socket
from urllib.parse import urlparse

READ_SECONDS = 5
AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
BULKS = (b"$", b"=", b"!")


class Missing(Exception):
    """A reply that was due did not come whole; carries what did come."""

    def __init__(self, why, got):
        super().__init__(f"{why}: got {got!r}")
        self.got = got


def encode(*args):
    """One request as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        arg = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


class Wire:
    """One client connection."""

    def __init__(self, url):
        address = urlparse(url)
        self.socket = socket.create_connection((address.hostname, address.port), READ_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = bytearray()
        self.broken = False

    def send(self, *pieces):
        for piece in pieces:
            try:
                self.socket.sendall(piece)
            except OSError:
                # The other end has closed; what it said before that is still read.
                self.broken = True
                return

    def frames(self, count):
        """The bytes of the next `count` replies or pushes."""
        position = 0
        for _ in range(count):
            position = self._skip(position)
        taken = bytes(self.pending[:position])
        del self.pending[:position]
        return taken

    def until_closed(self):
        """Everything up to the end of the stream."""
        try:
            while self._more():
                pass
        except Missing as error:
            return error.got + b"<still open>"
        taken = bytes(self.pending)
        self.pending.clear()
        return taken

    def close(self):
        self.socket.close()

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        except OSError as error:
            raise Missing(type(error).__name__, bytes(self.pending)) from None
        self.pending += data
        return bool(data)

    def _need(self, length):
        while len(self.pending) < length:
            if not self._more():
                raise Missing("closed", bytes(self.pending))

    def _line(self, position):
        """The line at `position` without its end, and where the next begins."""
        while (end := self.pending.find(b"\r\n", position)) < 0:
            if not self._more():
                raise Missing("closed", bytes(self.pending))
        return bytes(self.pending[position:end]), end + 2

    def _skip(self, position):
        """Where the reply at `position` ends. An attribute belongs to what follows it."""
        due = 1
        while due:
            line, position = self._line(position)
            kind, due = line[:1], due - 1
            if kind in BULKS and int(line[1:]) >= 0:
                position += int(line[1:]) + 2
                self._need(position)
            elif kind in AGGREGATES and int(line[1:]) >= 0:
                due += AGGREGATES[kind] * int(line[1:]) + (kind == b"|")
        return position
