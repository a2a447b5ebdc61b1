"""Fetch > predict > decide > lock: the one path from bars to a signal that every route stands on.

Everything takes `at`; live is the same call as replay with `at` = now. Failures become gates per ticker, so that one
bad ticker never takes the others down.
"""

from app.pipeline.alignment import Alignment
from app.pipeline.charts import Chart, Charts, ChartSpan, NoMarketData
from app.pipeline.gates import MarketClosed
from app.pipeline.live_promise import LivePromise, ModelRecord
from app.pipeline.pipeline import Pipeline
from app.pipeline.prefetch import DAILY_BAR_AFTER, FIRST_HOUR
from app.pipeline.states import (
    Board,
    DataPart,
    HorizonOutlook,
    Overview,
    Permission,
    Quote,
    Ranking,
    RpePart,
    State,
    Step,
    SwingOutlook,
    TickerSignal,
    V6Part,
)
from app.pipeline.track_record import Hour, Judged, RecordPage

__all__ = [
    "DAILY_BAR_AFTER",
    "FIRST_HOUR",
    "Alignment",
    "Board",
    "Chart",
    "ChartSpan",
    "Charts",
    "DataPart",
    "HorizonOutlook",
    "Hour",
    "Judged",
    "LivePromise",
    "MarketClosed",
    "ModelRecord",
    "NoMarketData",
    "Overview",
    "Permission",
    "Pipeline",
    "Quote",
    "Ranking",
    "RecordPage",
    "RpePart",
    "State",
    "Step",
    "SwingOutlook",
    "TickerSignal",
    "V6Part",
]
