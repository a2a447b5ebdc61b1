"""v1's answers as JSON dicts (v1-contract.md 4, 5). Shapes are built here and nowhere else; nothing is computed here.

Every key is there in every variant, null where unknown; `error` and `error_code` only on faults (ruling V1).
"""

from blueprints.v1.shapes.about import health, model_info, models, no_predictions
from blueprints.v1.shapes.daily import daily_signals, ranges, signal_breakdown, volatility_meter
from blueprints.v1.shapes.directions import trading_directions
from blueprints.v1.shapes.replay import replay
from blueprints.v1.shapes.structure import mtf, northstar, rpe, swing

__all__ = [
    "daily_signals",
    "health",
    "model_info",
    "models",
    "mtf",
    "no_predictions",
    "northstar",
    "ranges",
    "replay",
    "rpe",
    "signal_breakdown",
    "swing",
    "trading_directions",
    "volatility_meter",
]
