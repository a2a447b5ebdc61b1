"""gunicorn.conf.py with bounds of a few seconds, so that tests need not wait for them."""

from pathlib import Path

exec(compile((Path(__file__).parent.parent.parent / "gunicorn.conf.py").read_text(), "gunicorn.conf.py", "exec"))

from serving.worker import Worker  # noqa: E402
from tests.serving.quick_bounds import QUICK  # noqa: E402


class QuickWorker(Worker):
    bounds = QUICK


worker_class = QuickWorker
