"""A real redis-server that speaks TLS alone, with a certificate that openssl makes for the test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.redis_faults import PASSWORD
from tests.redis_server import RedisServer, skip_without_redis_server

NO_TLS = "this redis-server was built without TLS; to install one with it: `sudo apt-get install redis-server` (Debian)"


def make_certificate(folder: Path, name: str = "server", host: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """A certificate that nobody but itself vouches for, and its key. Skips where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing; to install it: `sudo apt-get install openssl` (Debian)")
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={host}", "-days", "2"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *subject, *files], check=True, capture_output=True, timeout=60)
    return certificate, key


class TlsRedisServer(RedisServer):
    """Its only port speaks TLS, and its users have a password."""

    def __init__(self, certificate: Path, key: Path) -> None:
        tls = {"tls-cert-file": str(certificate), "tls-key-file": str(key), "tls-ca-cert-file": str(certificate)}
        super().__init__(options={**tls, "tls-auth-clients": "no", "requirepass": PASSWORD, "port": "0"})
        self._options["tls-port"] = str(self.port)
        self.certificate = certificate

    @property
    def url(self) -> str:
        return self.url_with(ssl_ca_certs=str(self.certificate))

    def url_with(self, **options: str) -> str:
        """Its address with these options."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"rediss://:{PASSWORD}@127.0.0.1:{self.port}/0?{query}"


def skip_without_tls(folder: Path) -> TlsRedisServer:
    """A server that runs; skips where redis-server cannot."""
    skip_without_redis_server()
    server = TlsRedisServer(*make_certificate(folder))
    try:
        server.start()
    except RuntimeError as exc:
        if "Bad directive" in str(exc):
            pytest.skip(NO_TLS)
        raise
    return server
