"""gunicorn.conf.py with bounds of fractions of a second, so that tests need not wait for them."""

from pathlib import Path

exec(compile((Path(__file__).parent.parent.parent / "gunicorn.conf.py").read_text(), "gunicorn.conf.py", "exec"))

from serving.bounds import Bounds  # noqa: E402
from serving.worker import Worker  # noqa: E402


class QuickWorker(Worker):
    bounds = Bounds(head_s=2.0, body_s=1.5, write_s=0.7, linger_s=0.5)


worker_class = QuickWorker
