"""The command `rules`: what watches a server, from the files that came with it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import click

from app.places import FILES

RULES: Final = ("prometheus/*.yml", "grafana/*.json", "*.md")


@click.command(short_help="Write the files for Prometheus and Grafana into FOLDER.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def rules(folder: Path) -> None:
    """Write the rules for Prometheus and Alertmanager, Grafana's dashboard and the runbook into FOLDER."""
    ops = FILES / "ops"
    for pattern in RULES:
        for path in sorted(ops.glob(pattern)):
            copy = folder / path.relative_to(ops)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            click.echo(str(copy))
