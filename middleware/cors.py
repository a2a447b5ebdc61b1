"""v1 may be read from any origin (v1-contract.md 3.1): browsers call some of its routes directly."""

from __future__ import annotations

from flask import Flask, Response


def allow_any_origin(app: Flask) -> None:
    @app.after_request
    def allow(response: Response) -> Response:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        if response.headers.get("Allow"):
            response.headers.setdefault("Access-Control-Allow-Methods", response.headers["Allow"])
            response.headers.setdefault("Access-Control-Allow-Headers", "Content-Type")
        return response
