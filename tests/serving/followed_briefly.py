"""The server, in which following a ticker lasts for two seconds."""

from gevent import monkey

monkey.patch_all()

from blueprints.v2 import following  # noqa: E402
from wsgi import app  # noqa: E402

__all__ = ["app"]

vars(following)["LASTS_S"] = 2.0
