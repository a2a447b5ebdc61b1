"""The WSGI app that gunicorn serves. gevent patches first: before anything imports ssl, sockets or threads."""

from gevent import monkey

monkey.patch_all()

from app.factory import create_app  # noqa: E402

app = create_app()
app.extensions["predict-server"].start()
