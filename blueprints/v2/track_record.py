"""From the track record of the pipeline to v2's pages."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from urllib.parse import urlencode

from app.errors import Fault
from app.market.calendar import ONE_DAY, ny_day
from app.market.plan import Plan
from app.pipeline import Hour, Judged
from app.signals.outcomes import Exit
from app.signals.policy import Decision
from blueprints.services import Services
from blueprints.shared import sentences
from blueprints.shared.values import parse_day, probabilities
from blueprints.v2 import record_types, types
from blueprints.v2.operations import refused
from blueprints.v2.queries import RecordQuery
from blueprints.v2.signals import ACTIONS, DIRECTIONS, levels_of, size_of, strength_of


def page(server: Services, ticker: str, query: RecordQuery) -> record_types.RecordPage:
    """The answer to a query."""
    at, plan = server.clock(), server.pipeline.plan
    first, last = query.days(ny_day(at))
    after = Hour(first - ONE_DAY, 24) if query.cursor is None else _after(query.cursor, ticker, first, last)
    found = server.pipeline.track_record.page(ticker, after, last, query.limit, at)
    return record_types.RecordPage(
        ticker=ticker,
        generated_at=at,
        source=plan.market,
        first_day=first,
        last_day=last,
        record_begins=found.begins,
        home_region=server.home_region,
        is_home_record=server.has_home_record,
        signals=[_signal(judged, plan) for judged in found.signals],
        gaps=[record_types.Gap(day=day, decision_hours=list(hours)) for day, hours in found.gaps.items()],
        out_of_sample=_counts([judged for judged in found.signals if not judged.decision.in_sample]),
        in_sample=_counts([judged for judged in found.signals if judged.decision.in_sample]),
        next=None if found.next is None else _link(ticker, first, last, query, found.next),
    )


def _link(ticker: str, first: date, last: date, asked: RecordQuery, hour: Hour) -> str:
    """The path of the page that begins after an hour, with the same fields."""
    cursor = urlsafe_b64encode(f"{ticker} {hour.day} {hour.hour}".encode()).decode().rstrip("=")
    query = {"from": first.isoformat(), "to": last.isoformat(), "limit": asked.limit, "cursor": cursor}
    query |= {"fields": ",".join(asked.fields)} if asked.fields else {}
    return f"/v2/signals/{ticker}?{urlencode(query)}"


def _after(cursor: str, ticker: str, first: date, last: date) -> Hour:
    """The hour that a cursor names. Raises BadRequest for one that no page of this ticker and range gave."""
    with suppress(binascii.Error, ValueError):
        of, day, hour = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").split(" ")
        known = parse_day(day)
        if of == ticker and known is not None and first <= known <= last and hour.isdigit() and int(hour) < 24:
            return Hour(known, int(hour))
    raise refused([Fault("/cursor", "is none that a page of this ticker and of these days gave")])


def _signal(judged: Judged, plan: Plan) -> record_types.RecordedSignal:
    return record_types.RecordedSignal(
        **dict(locked_signal(judged.decision, plan)),
        outcome=_outcome(judged, plan),
        outcome_reason=None if judged.unknown is None else sentences.error(judged.unknown, plan),
    )


def locked_signal(decision: Decision, plan: Plan) -> record_types.LockedSignal:
    """A signal as it was locked."""
    p_a, p_b = probabilities(decision)
    late = decision.session == "late"
    return record_types.LockedSignal(
        day=decision.day,
        decision_hour=decision.hour,
        locked_at=decision.locked_at,
        expires_at=decision.expires_at,
        action=ACTIONS[decision.action],
        direction=DIRECTIONS[decision.action],
        strength=strength_of(decision),
        active_target=types.Target.B if late else types.Target.A,
        probability=p_b if late else p_a,
        probability_a=p_a,
        probability_b=p_b if late else None,
        size=size_of(decision),
        prices=record_types.DecisionPrices(
            at_decision=decision.price, session_open=decision.today_open, at_11=decision.price_11am
        ),
        levels=None if decision.action == "NO_TRADE" else levels_of(decision),
        reason=sentences.error(decision.reason, plan),
        model=record_types.RecordedModel(model_id=decision.model_id, in_sample=decision.in_sample),
        inputs_sha256=decision.features_sha256,
        versions=types.Versions(policy=decision.spec_version, engine=decision.engine_version),
    )


def _outcome(judged: Judged, plan: Plan) -> record_types.SignalOutcome | None:
    outcome, unknown = judged.outcome, judged.exit_unknown
    if outcome is None:
        return None
    return record_types.SignalOutcome(
        session_close=outcome.close,
        target_reached=outcome.reached,
        right=outcome.right,
        change_percent=outcome.change_pct,
        return_percent=outcome.return_pct,
        exit=None if judged.exit is None else _exit(judged.exit),
        exit_reason=None if unknown is None else sentences.error(unknown, plan),
    )


def _exit(left: Exit) -> record_types.TradeExit:
    return record_types.TradeExit(
        kind=left.kind,
        entry_price=left.entry,
        exit_price=left.price,
        exited_at=left.at,
        return_percent=left.return_pct,
    )


def _counts(signals: Sequence[Judged]) -> record_types.RecordCounts:
    rights = [judged.outcome.right for judged in signals if judged.outcome is not None]
    return record_types.RecordCounts(
        signals=len(signals),
        trades=sum(judged.decision.action != "NO_TRADE" for judged in signals),
        right=sum(right is True for right in rights),
        wrong=sum(right is False for right in rights),
        without_outcome=len(signals) - len(rights),
    )
