"""`python -m app`: the command line."""

import sys

try:
    from app.cli import main
except ModuleNotFoundError as exc:
    sys.exit(
        f"Error: {exc.name} is not installed here. `make setup` installs everything below .venv: .venv/bin/python -m app"
    )

main()
