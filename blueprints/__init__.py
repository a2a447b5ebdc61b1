"""The doors: HTTP shapes per version. Nothing here computes; every URL prefix stands in `register`."""

from __future__ import annotations

from flask import Flask

from blueprints import errors, ops
from blueprints.services import Services
from blueprints.v1 import routes as v1


def register(app: Flask, services: Services) -> None:
    """Attach all routes and error shapes to `app`."""
    services.attach(app)
    app.register_blueprint(v1.blueprint)
    app.register_blueprint(ops.blueprint)
    errors.register(app)
