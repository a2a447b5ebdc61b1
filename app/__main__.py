"""`.venv/bin/predict`, or `python -m app` where the packages are installed: the command line."""

import sys

try:
    from app.cli import main
except ModuleNotFoundError as exc:
    sys.exit(
        f"Error: {exc.name} is not installed here. `make setup` installs everything below .venv, for .venv/bin/predict"
    )

main()
