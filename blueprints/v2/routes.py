"""The routes of v2: ask the pipeline, and put what it says into types."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from flask import Blueprint, request

from app.errors import Fault
from app.market.calendar import TradingHours, ny_day
from app.market.inception import FIRST_DAY
from app.market.plan import Plan
from app.pipeline import State
from blueprints.services import Services, services
from blueprints.streams import push
from blueprints.v2 import (
    answers,
    charts,
    record_types,
    signals,
    stream_types,
    streaming,
    structures,
    system,
    track_record,
    types,
)
from blueprints.v2.following import Followed
from blueprints.v2.line_formats import format_for
from blueprints.v2.operations import FieldsQuery, NoQuery, Operations, refused
from blueprints.v2.queries import (
    BarsQuery,
    CalendarQuery,
    FollowQuery,
    RecordQuery,
    ReplayQuery,
    TickersQuery,
)
from blueprints.v2.streaming import LineStream

A = TypeVar("A", bound=answers.Analysis)

blueprint = Blueprint("v2", __name__, url_prefix="/v2")
operations = Operations(blueprint)


@operations.get("/trading-directions", TickersQuery, types.Board, cached=True)
def trading_directions(query: TickersQuery) -> types.Board:
    """The signals of all tickers, or of those that are named."""
    server = services()
    at = server.clock()
    found = server.pipeline.current(query.tickers, at)
    return signals.board_of(found, server.calendar.hours_at(at), server.pipeline.plan, server.pipeline.models)


@operations.get("/trading-directions/{ticker}", FieldsQuery, types.Signal, cached=True)
def trading_direction(ticker: str, query: FieldsQuery) -> types.Signal:
    """The signal of one ticker."""
    server = services()
    at = server.clock()
    found = server.pipeline.current([ticker], at)[ticker]
    return signals.signal_of(found, server.calendar.hours_at(at), server.pipeline.plan, server.pipeline.models)


@operations.get("/trading-directions/{ticker}/stream", FollowQuery, None, lines=stream_types.StageStreamLine)
def trading_direction_stream(ticker: str, query: FollowQuery) -> LineStream:
    """The signal of one ticker in stages, each sent as soon as it is computed: data, analyses, model, signal.

    With `follow=true` every change follows, for 14 minutes; a client then asks again behind the last event."""
    after = query.resumes_after(request.headers.get("Last-Event-ID"))
    if not query.follow:
        return LineStream(streaming.stages(ticker, services()))
    chosen = format_for(request.accept_mimetypes)
    followed = Followed(ticker, after, services(), chosen.chunk, push())
    return LineStream(followed.lines(), followed.farewell, followed.wait)


@operations.get("/structure/{ticker}", FieldsQuery, answers.Structure, cached=True)
def structure(ticker: str, query: FieldsQuery) -> answers.Structure:
    """Both analyses of the session of one ticker."""
    return _analysed(ticker, structures.structure_of)


@operations.get("/swing/{ticker}", FieldsQuery, answers.SwingAnswer, cached=True)
def swing(ticker: str, query: FieldsQuery) -> answers.SwingAnswer:
    """The analysis of the days of one ticker, and the probabilities that its close lies higher after 1, 3, 5 and 10 days."""
    server = services()
    at = server.clock()
    state, outlook = server.pipeline.states([ticker], at)[ticker], server.pipeline.outlooks.of([ticker], at)[ticker]
    return structures.swing_of(state, outlook, server.calendar.hours_at(at), server.pipeline.plan)


@operations.get("/bars/{ticker}", BarsQuery, answers.BarSeries, cached=True)
def bars(ticker: str, query: BarsQuery) -> answers.BarSeries:
    """The bars of one ticker that were known at the moment of the answer: those of a day, or daily ones."""
    return charts.bars(services(), ticker, query)


@operations.get("/signals/{ticker}", RecordQuery, record_types.RecordPage)
def recorded_signals(ticker: str, query: RecordQuery) -> record_types.RecordPage:
    """The track record of one ticker: every locked signal, what became of it once its day had closed, and the gaps."""
    return track_record.page(services(), ticker, query)


@operations.get("/replay/{ticker}", ReplayQuery, types.Signal, lines=stream_types.SeriesLine)
def replay(ticker: str, query: ReplayQuery) -> types.Signal | LineStream:
    """The signal of one ticker at a past moment, as the live server showed it or would have, or at a series of moments.

    `at` asks for one moment; `from`, `to` and `step` ask for several of one day, which are streamed."""
    server = services()
    moments = query.moments()
    if query.at is not None:
        _refuse_unless_past("/at", query.at, server.clock())
        return _replayed(server, ticker, query.at, recompute=query.recompute)
    for name, at in zip(("/from", "/to"), (moments[0], moments[-1]), strict=True):
        _refuse_unless_past(name, at, server.clock())
    return LineStream(streaming.series(ticker, moments, lambda at: _replayed(server, ticker, at), server))


@operations.get("/models", NoQuery, answers.LoadedModels)
def models(query: NoQuery) -> answers.LoadedModels:
    """The loaded models and what their own evaluation says of them."""
    return system.models_of(services())


@operations.get("/models/{ticker}", NoQuery, answers.Model)
def model(ticker: str, query: NoQuery) -> answers.Model:
    """The model of one ticker."""
    return system.model_of(services(), ticker)


@operations.get("/calendar", CalendarQuery, answers.CalendarAnswer)
def calendar(query: CalendarQuery) -> answers.CalendarAnswer:
    """The trading days, by default those of the next 30 days."""
    server = services()
    at = server.clock()
    first, last = query.days(ny_day(at))
    return system.calendar_of(server.calendar, at, first, last)


@operations.get("/status", NoQuery, answers.Status)
def status(query: NoQuery) -> answers.Status:
    """What the server serves with.

    It causes no call to the provider."""
    return system.status_of(services())


def _analysed(ticker: str, shape: Callable[[State, TradingHours, Plan], A]) -> A:
    """The analysis of one ticker, now."""
    server = services()
    at = server.clock()
    state = server.pipeline.states([ticker], at)[ticker]
    return shape(state, server.calendar.hours_at(at), server.pipeline.plan)


def _refuse_unless_past(pointer: str, at: datetime, now: datetime) -> None:
    """Raises BadRequest for a moment that lies ahead or before all bars."""
    if at > now:
        raise refused([Fault(pointer, f"lies ahead: in this market it is {now.isoformat(timespec='seconds')}")])
    if ny_day(at) < FIRST_DAY:
        raise refused([Fault(pointer, f"lies before {FIRST_DAY}, the first day of any ticker")])


def _replayed(server: Services, ticker: str, at: datetime, *, recompute: bool = False) -> types.Signal:
    pipeline, hours = server.pipeline, server.calendar.hours_at(at)
    if hours.session is None:
        found = pipeline.unread([ticker], at)[ticker]
    else:
        found = pipeline.states([ticker], at, keep=False, recompute=recompute)[ticker]
    return signals.signal_of(found, hours, pipeline.plan.for_day(ny_day(at)), pipeline.models, types.AnswerMode.REPLAY)
