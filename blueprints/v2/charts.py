"""From the charts of the pipeline to v2's series of bars."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from app.errors import NotFound
from app.market.bars import Bars, Bools, from_ms
from app.market.calendar import TradingHours, ny_day
from app.market.plan import Plan
from app.pipeline import Chart, Charts, ChartSpan, NoMarketData
from blueprints.services import Services
from blueprints.shared import sentences
from blueprints.shared.values import age_s
from blueprints.v2 import answers, types
from blueprints.v2.operations import refused
from blueprints.v2.queries import DAILY_BARS, BarsQuery
from blueprints.v2.signals import freshness
from blueprints.v2.system import session_of


def bars(server: Services, ticker: str, query: BarsQuery) -> answers.BarSeries:
    """The answer to a query. Raises NotFound for a day without trading or without bars."""
    at, pipeline = server.clock(), server.pipeline
    faults = query.faults(ny_day(at))
    if faults:
        raise refused(faults)
    day = query.day or pipeline.charts.shown_day(at)
    plan = pipeline.plan.for_day(day)
    try:
        chart = _chart(pipeline.charts, ticker, day, query, at)
    except NoMarketData as exc:
        holiday = server.calendar.holiday(day)
        said = sentences.no_market_data(ticker, day, plan, exc.session is not None, holiday)
        raise NotFound(said, code=exc.code) from None
    return _series(ticker, chart, query.span, server.calendar.hours_at(at), plan, extended=query.extended)


def _chart(charts: Charts, ticker: str, day: date, query: BarsQuery, at: datetime) -> Chart:
    if query.span is ChartSpan.DAY:
        return charts.of_days(ticker, day, query.days or DAILY_BARS, at)
    return charts.of_day(ticker, day, query.span, at, extended=query.extended)


def _series(
    ticker: str, chart: Chart, span: ChartSpan, hours: TradingHours, plan: Plan, *, extended: bool
) -> answers.BarSeries:
    """The bars of a chart. extended: whether it has those outside the regular session too."""
    shown = list(_bars(chart.bars, chart.regular))
    opened = chart.official_open
    return answers.BarSeries(
        ticker=ticker,
        span=span,
        generated_at=hours.at,
        as_of=chart.as_of,
        age_seconds=age_s(chart.as_of, hours.at),
        freshness=_freshness(chart, hours, plan),
        source=plan.market,
        first_day=chart.first,
        last_day=chart.last,
        session=None if chart.session is None else session_of(chart.session),
        session_open=None if opened is None else opened.price,
        session_open_source=None if opened is None else answers.OpenSource(opened.source),
        missing_bars=chart.missing,
        bars=shown,
        reason=None if shown else _reason(ticker, chart, plan, extended=extended),
    )


def _reason(ticker: str, chart: Chart, plan: Plan, *, extended: bool) -> str:
    """Why there are no bars."""
    if chart.only_longer:
        return sentences.longer_bars_alone(ticker, chart.last, plan)
    return sentences.no_bars_yet(chart.last, plan, extended=extended)


def _freshness(chart: Chart, hours: TradingHours, plan: Plan) -> types.Freshness:
    """Days that are over are of the past, unless they are daily bars that lack the newest one."""
    is_behind = chart.session is None and chart.stale
    if chart.last < ny_day(hours.at) and not is_behind:
        return types.Freshness.HISTORICAL
    return freshness(chart.as_of, hours, plan, stale=chart.stale)


def _bars(bars: Bars, regular: Bools) -> Iterator[answers.Bar]:
    columns = (column.tolist() for column in (bars.t, bars.end, bars.o, bars.h, bars.l, bars.c, bars.v, regular))
    for start, end, first, high, low, last, volume, is_regular in zip(*columns, strict=True):
        yield answers.Bar(
            start=from_ms(start),
            end=from_ms(end),
            open=first,
            high=high,
            low=low,
            close=last,
            volume=volume,
            regular=is_regular,
        )
