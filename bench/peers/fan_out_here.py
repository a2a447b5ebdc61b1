"""(a), (f) This server, with events of the bench in place of those of a market: the broadcaster of one ticker computes nothing,
and each trigger publishes an event in its feed, from where everything is as it always is."""

from gevent import monkey

monkey.patch_all()

from datetime import UTC, datetime  # noqa: E402
from typing import Final  # noqa: E402

from app.factory import create_app  # noqa: E402
from app.live.broadcaster import Broadcaster, Broadcasters  # noqa: E402
from app.live.event_log import Head  # noqa: E402
from app.live.live_event import Kind, LiveEvent, Noticed, Position  # noqa: E402
from bench.events import EPOCH, FIRST, ROOM, body  # noqa: E402
from bench.peers.trigger import on_trigger  # noqa: E402

NOTICED: Final = Noticed(datetime.now(UTC), None, None, "", "")


class Fed(Broadcaster):
    """A broadcaster that waits to be told what to publish."""

    def step(self, at: datetime) -> None:
        """Nothing is computed."""

    def publish(self, number: int) -> None:
        position = Position(EPOCH, number - FIRST + 1)
        event = LiveEvent(ROOM, Kind.PRICE, position, body(number))
        self.feed.publish(Head(position, NOTICED, body(FIRST)), [event])
        self.fan_out.deliver()


def fed(live: Broadcasters) -> Fed:
    """The broadcaster of the ticker, which runs from now on, with a head that is not an event."""
    broadcaster = live._all[ROOM]
    broadcaster.__class__ = Fed
    assert isinstance(broadcaster, Fed)
    broadcaster.hold()
    broadcaster.feed.publish(Head(Position(EPOCH, 0), NOTICED, b"{}"), [])
    return broadcaster


app = create_app()
services = app.extensions["predict-server"]
services.start()
broadcaster = fed(services.live)
on_trigger(broadcaster.publish)
