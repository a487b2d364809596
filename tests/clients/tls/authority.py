"""Authorities and certificates for the TLS suites, made by the openssl program.

Used by suites.py. Everything lies in one directory that its owner removes.
"""

import os
import subprocess

NAMES = "subjectAltName=DNS:localhost"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def _openssl(*argv, before=()):
    subprocess.run([*before, "openssl", *argv], check=True, stdin=subprocess.DEVNULL, capture_output=True)


class Authority:
    """Issues certificates; its own is `NAME.pem`."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        self.certificate, self.key = self._path(f"{name}.pem"), self._path(f"{name}.key")
        _openssl("req", "-x509", *CURVE, "-keyout", self.key, "-out", self.certificate, "-days", "2", "-subj", f"/CN={name}")

    def _path(self, file):
        return os.path.join(self.directory, file)

    def issue(self, file, common_name, expired=False):
        """A certificate `FILE.pem` of a user and of `localhost`, with its key `FILE.key`."""
        asked, names = self._path(f"{file}.csr"), self._path("names")
        with open(names, "w", encoding="utf-8") as extensions:
            extensions.write(NAMES)
        certificate, key = self._path(f"{file}.pem"), self._path(f"{file}.key")
        _openssl("req", *CURVE, "-keyout", key, "-out", asked, "-subj", f"/CN={common_name}")
        _openssl(
            "x509", "-req", "-in", asked, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
            "-extfile", names, "-days", "2", "-out", certificate,
            before=["faketime", "2020-01-01"] if expired else [],
        )
        return certificate, key
