"""Faults of the HTTP response: another status, a cut or marked body, and how it is sent over the connection."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from app.market.polygon import Reply
from app.simulator.messages import JSON, Connection, HttpResponse, Options, response_of, send

TOO_MANY = Reply(429, {"status": "ERROR", "error": "You've exceeded the maximum requests per minute."})
BAD_GATEWAY = HttpResponse(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", (("Content-Type", "text/html"),))

EditResponse = Callable[[HttpResponse, Options], HttpResponse]
Send = Callable[[Connection, HttpResponse, Options], None]


def unchanged(response: HttpResponse, options: Options) -> HttpResponse:
    """Returns the response as it is."""
    return response


def always(response: HttpResponse) -> EditResponse:
    """Returns an edit that puts `response` in place of any other."""
    return lambda good, options: response


def over_limit(response: HttpResponse, options: Options) -> HttpResponse:
    """Refuses the call for `retry_after` seconds."""
    refusal = response_of(TOO_MANY)
    return replace(refusal, headers=(*JSON, ("Retry-After", f"{options['retry_after']:g}")))


def marked_delayed(response: HttpResponse, options: Options) -> HttpResponse:
    """Marks a good response as delayed."""
    body = json.loads(response.body)
    is_good = isinstance(body, dict) and body.get("status") == "OK"
    return replace(response, body=json.dumps({**body, "status": "DELAYED"}).encode()) if is_good else response


def with_clock_skew(response: HttpResponse, options: Options) -> HttpResponse:
    """Moves the Date header, and the time in the market status, by `seconds`."""
    body, skew_s = json.loads(response.body), options["seconds"]
    if isinstance(body, dict) and "serverTime" in body:
        at = datetime.fromisoformat(body["serverTime"]) + timedelta(seconds=skew_s)
        response = replace(response, body=json.dumps({**body, "serverTime": at.isoformat(timespec="seconds")}).encode())
    return replace(response, skew_s=skew_s)


def halved(response: HttpResponse, options: Options) -> HttpResponse:
    """Cuts the body in the middle."""
    return replace(response, body=response.body[: len(response.body) // 2])


def half_zipped(response: HttpResponse, options: Options) -> HttpResponse:
    """Compresses the body and cuts the stream in the middle."""
    zipped = gzip.compress(response.body, mtime=0)
    return replace(response, body=zipped[: len(zipped) // 2], headers=(*response.headers, ("Content-Encoding", "gzip")))


def send_late(connection: Connection, response: HttpResponse, options: Options) -> None:
    """Sends the response after `seconds`."""
    connection.wait(options["seconds"])
    send(connection, response, options)


def send_nothing(connection: Connection, response: HttpResponse, options: Options) -> None:
    """Sends nothing until the fault ends."""
    connection.wait(None)
    send(connection, response, options)


def trickle(connection: Connection, response: HttpResponse, options: Options) -> None:
    """Sends the head at once, then a byte of the body every `seconds`; the last byte waits for the end of the fault."""
    whole = connection.encode(response)
    sent = len(whole) - len(response.body)
    connection.write(whole[:sent])
    while sent < len(whole) - 1:
        connection.write(whole[sent : sent + 1])
        sent += 1
        if connection.wait(options["seconds"]):
            break
    connection.wait(None)
    connection.write(whole[sent:])


def reset(connection: Connection, response: HttpResponse, options: Options) -> None:
    """Resets the connection without a response."""
    connection.reset()


def send_short(connection: Connection, response: HttpResponse, options: Options) -> None:
    """Closes the connection before the announced length is sent."""
    connection.write(connection.encode(response)[: -max(1, len(response.body) // 2)])
    connection.close_after_write()
