"""The WSGI app that gunicorn serves. gevent patches first: before anything imports ssl, sockets or threads."""

from gevent import monkey

monkey.patch_all()

from gunicorn.errors import AppImportError  # noqa: E402

from app.errors import SettingsError  # noqa: E402
from app.factory import create_app  # noqa: E402

try:
    app = create_app()
except SettingsError as exc:  # gunicorn prints this one without a trace, and stops
    raise AppImportError(f"Error: {exc.message}") from None
app.extensions["predict-server"].start()
