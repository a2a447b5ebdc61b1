"""Which replica of the server this is, and in which region, by the names that a platform gives them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

NAME: Final = "up to 64 letters, digits, dots, hyphens and underscores that begin with a letter or a digit"
is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch


class Replica(NamedTuple):
    """region: such as `us-west2`; id: distinguishes the replica from all others. None: not known."""

    region: str | None = None
    id: str | None = None

    @property
    def served_by(self) -> str | None:
        """`us-west2/6f0c1a2b` or `us-west2`, with `-` for a region that is not known; None if nothing is known."""
        return self.region if self.id is None else f"{self.region or '-'}/{self.id}"


def usable(name: str | None) -> str | None:
    """The name if it can stand in headers and labels as it is, else None."""
    return name if name is not None and is_name(name) else None
