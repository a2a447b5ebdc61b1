"""Puts the files that stand beside the packages in a checkout into the wheel, below app/shipped. setup.cfg has all else."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "gunicorn.conf.py",
    "wsgi.py",
    "dashboard/dist/**/*",
    "clients/python/predict_client/*",
    "ops/RUNBOOK.md",
    "ops/grafana/*.json",
    "ops/prometheus/*.yml",
)


class WithShippedFiles(build_py):
    """Builds the packages, and copies what SHIPPED names into them, in the same folders (app/places.py)."""

    def run(self):
        super().run()
        for pattern in SHIPPED:
            files = [path for path in sorted(Path().glob(pattern)) if path.is_file()]
            if not files:
                raise SystemExit(f"{pattern} is not there; `make wheel` builds what a wheel needs")
            for path in files:
                self._ship(path)

    def _ship(self, path):
        copy = Path(self.build_lib, "app", "shipped", path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        self.copy_file(str(path), str(copy))


setup(cmdclass={"build_py": WithShippedFiles})
