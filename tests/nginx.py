"""A real nginx on loopback, as it often stands in front of a server: with `gzip on` and its default buffering."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.serving.test_gunicorn import free_port
from tests.waiting import PATIENCE_S

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  gzip on;
  gzip_proxied any;
  gzip_types application/json;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {upstream}; }}
    {locations}
  }}
}}
"""


def skip_without_nginx() -> None:
    if PROGRAM is None:
        pytest.skip("nginx is missing; `make tools` installs it")


@contextmanager
def nginx(folder: Path, upstream: str, locations: str = "") -> Iterator[str]:
    """The address of an nginx that hands all requests to `upstream`, but those of further `locations`."""
    assert PROGRAM is not None
    folder.mkdir()
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, upstream=upstream, locations=locations))
    process = subprocess.Popen([PROGRAM, "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(file)])
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(address, process, folder)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"{address}/livez", timeout=PATIENCE_S)
            return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError((folder / "error.log").read_text())
