"""The outbox of one machine: a SQLite file that several processes may share."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from app.clock import Timer
from app.market.lease import LEASES
from app.notify.message import Message
from app.notify.outbox import CLAIM_S, KEPT_S, MOST, Claim, Counts, DeadLetter, message_of, text_of
from app.sqlite import MEMORY, Database
from app.telemetry.stages import NULL_STAGES, Stages

SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS notifications (
    id TEXT, target TEXT, message TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL, due REAL NOT NULL,
    token TEXT NOT NULL, reason TEXT NOT NULL, added REAL NOT NULL, PRIMARY KEY (id, target)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (topic TEXT PRIMARY KEY, condition TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disabled (target TEXT PRIMARY KEY, reason TEXT NOT NULL, since REAL NOT NULL) WITHOUT ROWID;
{LEASES}
"""
"""due: when it is to be sent, or when its claim ends, or when it was over; seconds since 1970."""


class SqliteOutbox:
    """An `Outbox` in the file `path`, which is made if it is missing, or in memory. most: messages that are kept."""

    def __init__(self, path: Path, timer: Timer, stages: Stages = NULL_STAGES, most: int = MOST) -> None:
        self.db = Database(path, SCHEMA, stages=stages)
        self._most = most
        self._now = timer.epoch

    def check(self) -> None:
        self.db.write("PRAGMA user_version = 1")

    def add(self, message: Message, targets: Sequence[str]) -> bool:
        now, text = self._now(), text_of(message)
        with self.db.transaction():
            if not self._turns(message):
                return False
            sql = "INSERT OR IGNORE INTO notifications VALUES (?, ?, ?, 'waiting', 0, ?, '', '', ?)"
            added = sum(self.db.write(sql, (message.id, target, text, now, now)) for target in targets)
            self._prune(now)
        return added > 0

    def told(self, topic: str) -> str | None:
        rows = self.db.rows("SELECT condition FROM told WHERE topic = ?", (topic,))
        return rows[0][0] if rows else None

    def claim(self, targets: Collection[str], limit: int) -> Sequence[Claim]:
        now, claims = self._now(), dict[str, Claim]()
        if not self._is_any_due(now):
            return []
        with self.db.transaction():
            for row in self._due(targets, now):
                if len(claims) < limit and row[1] not in claims:
                    claim = self._claimed(*row, now)
                    claims |= {} if claim is None else {claim.target: claim}
        return list(claims.values())

    def finish(self, claim: Claim, given_up: str | None = None) -> bool:
        state, reason = ("sent", "") if given_up is None else ("dead", given_up)
        return self._end(claim, state, claim.tries, self._now(), reason)

    def postpone(self, claim: Claim, seconds: float, tries: int) -> bool:
        return self._end(claim, "waiting", tries, self._now() + seconds, "")

    def counts(self) -> Counts:
        sql = "SELECT state = 'dead', target, COUNT(*) FROM notifications WHERE state != 'sent' GROUP BY 1, 2"
        rows = self.db.rows(sql)
        waiting, dead = ({target: n for is_dead, target, n in rows if is_dead == wanted} for wanted in (0, 1))
        return Counts(waiting, dead)

    def dead(self) -> Sequence[DeadLetter]:
        sql = "SELECT message, target, reason, tries, due FROM notifications WHERE state = 'dead' ORDER BY due DESC, id"
        read = [(message_of(text), *rest) for text, *rest in self.db.rows(sql)]
        return [DeadLetter(message, *rest) for message, *rest in read if message is not None]

    def revive(self, letter: DeadLetter) -> None:
        sql = """UPDATE notifications SET state = 'waiting', due = ?, tries = 0, reason = ''
            WHERE id = ? AND target = ? AND state = 'dead'"""
        self.db.write(sql, (self._now(), letter.message.id, letter.target))

    def disable(self, target: str, reason: str) -> None:
        self.db.write("INSERT OR REPLACE INTO disabled VALUES (?, ?, ?)", (target, reason, self._now()))

    def enable(self, target: str) -> None:
        self.db.write("DELETE FROM disabled WHERE target = ?", (target,))

    def disabled(self) -> Mapping[str, str]:
        sql = "SELECT target, reason FROM disabled WHERE since > ?"
        return dict(self.db.rows(sql, (self._now() - KEPT_S,)))

    def close(self) -> None:
        self.db.close()

    def _turns(self, message: Message) -> bool:
        """Whether a message is news: every one that tells of no state is. The caller holds a transaction."""
        condition = message.condition
        if condition is None:
            return True
        told = self.told(message.topic)
        if told == condition or (told is None and condition.is_good):
            return False
        self.db.write("INSERT OR REPLACE INTO told VALUES (?, ?)", (message.topic, condition))
        return True

    def _prune(self, now: float) -> None:
        self.db.write("DELETE FROM notifications WHERE added < ?", (now - KEPT_S,))
        self.db.write("DELETE FROM disabled WHERE since < ?", (now - KEPT_S,))
        sql = """DELETE FROM notifications WHERE (id, target) IN
            (SELECT id, target FROM notifications ORDER BY added DESC LIMIT -1 OFFSET ?)"""
        self.db.write(sql, (self._most,))

    def _is_any_due(self, now: float) -> bool:
        sql = "SELECT 1 FROM notifications WHERE state IN ('waiting', 'claimed') AND due <= ? LIMIT 1"
        return bool(self.db.rows(sql, (now,)))

    def _due(self, targets: Collection[str], now: float) -> list[tuple[str, str, str, str, int]]:
        sql = """SELECT id, target, message, state, tries FROM notifications
            WHERE state IN ('waiting', 'claimed') AND due <= ? ORDER BY due, id"""
        return [row for row in self.db.rows(sql, (now,)) if row[1] in targets]

    def _claimed(self, name: str, target: str, text: str, state: str, tries: int, now: float) -> Claim | None:
        message, token = message_of(text), secrets.token_hex(8)
        if message is None:
            self.db.write("DELETE FROM notifications WHERE id = ? AND target = ?", (name, target))
            return None
        sql = "UPDATE notifications SET state = 'claimed', token = ?, due = ? WHERE id = ? AND target = ?"
        self.db.write(sql, (token, now + CLAIM_S, name, target))
        return Claim(message, target, token, tries, is_uncertain=state == "claimed")

    def _end(self, claim: Claim, state: str, tries: int, due: float, reason: str) -> bool:
        sql = """UPDATE notifications SET state = ?, tries = ?, due = ?, reason = ?, token = ''
            WHERE id = ? AND target = ? AND state = 'claimed' AND token = ?"""
        args = (state, tries, due, reason, claim.message.id, claim.target, claim.token)
        return self.db.write(sql, args) > 0


def outbox_in_memory(timer: Timer, most: int = MOST) -> SqliteOutbox:
    """An outbox that is lost at the end."""
    return SqliteOutbox(MEMORY, timer, most=most)
