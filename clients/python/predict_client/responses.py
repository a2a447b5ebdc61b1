"""What a response of the predict server says: its JSON, its error, and when to come back."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from predict_client.errors import ApiError, ProtocolError

MAX_PROBLEM_BYTES = 65_536


def checked(response: requests.Response) -> requests.Response:
    """The response, if it is a success. Raises ApiError, and closes the response, if it is not."""
    if response.status_code == 200:
        return response
    with response:
        raise ApiError(response.status_code, _problem_of(response), retry_after_s(response))


def json_of(response: requests.Response) -> dict[str, Any]:
    """The object in the body. Raises ProtocolError if there is none."""
    with suppress(ValueError):
        body = response.json()
        if isinstance(body, dict):
            return body
    raise ProtocolError(f"{response.url} does not answer with a JSON object: is it the predict server?")


def retry_after_s(response: requests.Response) -> float | None:
    """Seconds after which the server wants to be asked again (`Retry-After`, RFC 9110, 10.2.3); None where it says none."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    return None


def _problem_of(response: requests.Response) -> dict[str, Any]:
    """The problem in the body (RFC 9457); an empty one where the body is something else, a proxy's page for instance."""
    with suppress(requests.RequestException, ValueError):
        head = next(response.iter_content(MAX_PROBLEM_BYTES), b"")
        body = json.loads(head)
        if isinstance(body, dict):
            return body
    return {"detail": response.reason}
