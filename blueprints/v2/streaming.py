"""v2's streams: what a view yields line by line, sent as it comes. The first line is sent before anything is computed, each
stage's line before the next stage begins, and an error after the first line is the last line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Final, NamedTuple

from flask import Response, request

from app.clock import REAL_TIME
from app.errors import sentence
from app.live.live_event import LiveEvent
from app.market.calendar import TradingHours
from app.market.plan import Plan
from app.model.artefact import ModelSet
from app.pipeline import DataPart, RpePart, Step, V6Part
from blueprints import streams
from blueprints.errors import problem_of
from blueprints.services import RequestContext, Services, request_context
from blueprints.shared.values import age_s, shown_probabilities
from blueprints.v2 import signals, stream_types
from blueprints.v2.line_formats import EVENT_STREAM, Line, format_for
from blueprints.v2.problems import Problem
from blueprints.v2.types import Answer, Signal

RETRY_AFTER_MS: Final = 2000
"""When a client of a server that stops may ask again."""

LAST_ID: Final = "complete"
"""The id of the last line of a stream that is over. A browser that opens an event stream again sends it back."""

SERIES_TURN: Final = threading.Lock()
"""Held by the series that computes."""

PAUSE, MAX_PAUSE_S = 2.0, 0.05
"""How long a series pauses after a signal, beside the time that the signal took, and at most."""

Lines = Iterator[Line]


def stopping() -> Line:
    """The last line of a stream that cannot go on, when the server stops."""
    return Line(stream_types.Stopping(retry_after_ms=RETRY_AFTER_MS))


class LineStream(NamedTuple):
    """What a view streams. last: makes the line that ends it when the server stops; wait: called where there is no line yet
    (None), before the next one is asked for."""

    lines: Iterable[Line | LiveEvent | None]
    last: Callable[[], Line] = stopping
    wait: Callable[[], None] = streams.no_wait


def respond(stream: LineStream) -> Response:
    """The response that sends these lines, in the format that the request prefers."""
    chosen = format_for(request.accept_mimetypes)
    if chosen is EVENT_STREAM and request.headers.get("Last-Event-ID") == LAST_ID:
        return Response(status=204)
    pieces = (b"" if line is None else chosen.write(line) for line in _with_error(stream.lines, request_context()))
    content_type = chosen.content_type
    response = streams.stream(
        pieces, content_type=content_type, last=lambda: chosen.write(stream.last()), wait=stream.wait
    )
    response.vary.add("Accept")
    return response


def stages(ticker: str, server: Services) -> Lines:
    """The lines of one ticker's state, now: a line for each step of the pipeline, sent before the next step is computed."""
    at = server.clock()
    shape = StageLines(server.calendar.hours_at(at), server.pipeline.plan, server.pipeline.models)
    yield _computing(ticker, at, cached=server.pipeline.is_in_memory(ticker, at))
    began = REAL_TIME.now()
    seconds: dict[str, float] = {}
    for part, took_s in _timed(server.pipeline.current_steps(ticker, at)):
        seconds[part.part] = took_s
        yield Line(shape.line_of(part))
    seconds["total"] = REAL_TIME.now() - began
    timings = {name: round(value, 6) for name, value in seconds.items()}
    yield Line(stream_types.Complete(seconds=stream_types.StageSeconds(**timings)), LAST_ID)


def series(
    ticker: str, moments: Sequence[datetime], signal_at: Callable[[datetime], Signal], server: Services
) -> Lines:
    """The signals of several moments, in their order. All series of a process compute one signal at a time, and then leave the
    process to other requests for a while. A signal that waits for bars holds up no other series."""
    yield _computing(ticker, moments[0], cached=server.pipeline.is_in_memory(ticker, moments[-1], keep=False))
    for at in moments:
        waits = not server.pipeline.is_in_memory(ticker, at, keep=False)
        with nullcontext() if waits else SERIES_TURN:
            began = REAL_TIME.now()
            signal = signal_at(at)
            REAL_TIME.sleep(min(MAX_PAUSE_S, PAUSE * (REAL_TIME.now() - began)))
        yield Line(stream_types.SignalLine(signal=signal))
    yield Line(stream_types.SeriesComplete(signals=len(moments)), LAST_ID)


class StageLines:
    """From a step of the pipeline to its line. hours, plan, models: those of the moment that the state is about."""

    def __init__(self, hours: TradingHours, plan: Plan, models: ModelSet) -> None:
        self._hours, self._plan, self._models = hours, plan, models
        self._data: DataPart | None = None

    def line_of(self, part: Step) -> Answer:
        """The line of a step. The steps come in their order."""
        if isinstance(part, DataPart):
            self._data = part
            return stream_types.DataLine(data=self._data_stage(part))
        if isinstance(part, RpePart):
            return stream_types.RpeLine(rpe=self._rpe_stage(part))
        if isinstance(part, V6Part):
            return stream_types.V6Line(v6=self._v6_stage(part))
        return stream_types.SignalLine(signal=signals.signal_of(part, self._hours, self._plan, self._models))

    def _data_stage(self, part: DataPart) -> stream_types.DataStage:
        fault = part.broken or part.quote_fault
        return stream_types.DataStage(
            as_of=part.as_of,
            age_seconds=age_s(part.as_of, self._hours.at),
            stale=part.stale,
            price=part.quote.price,
            session_open=part.quote.today_open,
            minute_bars=part.minutes,
            daily_bars=part.days,
            reason=None if fault is None else sentence(fault.message),
        )

    def _rpe_stage(self, part: RpePart) -> stream_types.RpeStage:
        assert self._data is not None
        session, swing = part.session, part.swing
        return stream_types.RpeStage(
            structure=None
            if session is None
            else signals.structure_of(part.ticker, session, self._data.minutes, is_open=self._hours.is_open),
            swing=None if swing is None else signals.swing_of(swing, self._data.days),
        )

    def _v6_stage(self, part: V6Part) -> stream_types.V6Stage:
        p_a, p_b = _shown(part)
        return stream_types.V6Stage(
            decision_hour=part.hour,
            probability_a=p_a,
            probability_b=p_b,
            in_sample=None if part.probabilities is None else part.in_sample,
        )


def _shown(part: V6Part) -> tuple[float | None, float | None]:
    """The probabilities as the signal gives them; B is no prediction before 11:00 (ruling L6)."""
    given = part.probabilities
    if given is None or given.target_a is None or given.target_b is None:
        return None, None
    p_a, p_b = shown_probabilities(given.target_a, given.target_b, early=given.early)
    return p_a, None if given.early else p_b


def _computing(ticker: str, at: datetime, *, cached: bool) -> Line:
    return Line(stream_types.Computing(ticker=ticker, generated_at=at, cached=cached))


def _timed(steps: Iterator[Step]) -> Iterator[tuple[Step, float]]:
    """Each step, and the real seconds that it took."""
    while True:
        began = REAL_TIME.now()
        part = next(steps, None)
        if part is None:
            return
        yield part, REAL_TIME.now() - began


def _with_error(lines: Iterable[Line | LiveEvent | None], context: RequestContext) -> Iterator[Line | LiveEvent | None]:
    """The lines, and one more if an error ends them: the status has been sent, so that the error can only be a line."""
    try:
        yield from lines
    except Exception as exc:  # whatever it is, the client is told in the stream's own format
        yield Line(stream_types.Failed(problem=Problem(**problem_of(exc, context))))
