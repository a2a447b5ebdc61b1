"""The bounds of a server whose times are seconds, so that tests need not wait for them (quick.conf.py)."""

from __future__ import annotations

from serving.bounds import Bounds

QUICK = Bounds(place_s=0.25, head_s=4.0, body_s=4.0, write_s=2.0)
"""Long enough that a busy machine does in time what is to be done in time."""
