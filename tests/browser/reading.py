"""What the page shows of a ticker, and what it must show of a signal of version 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from playwright.sync_api import Page

from tests.waiting import wait_for

TICKERS = ("SPY", "QQQ", "IWM")
ACTIONS = {"BUY_CALL": "BUY CALL", "BUY_PUT": "BUY PUT", "NO_TRADE": "NO TRADE"}
TARGETS = {"A": "the day closes above its open", "B": "the day closes above its 11:00 price"}
CARD = ".card[data-ticker]"
BAND = "section[aria-label='State of what is shown']"


def text_of(page: Page, ticker: str) -> str:
    """The text of a ticker's card, its white space simplified."""
    return " ".join(page.inner_text(f".card[data-ticker={ticker}]").split())


def band_of(page: Page) -> str:
    """The text of the band that says what may be claimed about the page."""
    return " ".join(page.inner_text(BAND).split())


def missing(page: Page, signal: Mapping[str, Any]) -> list[str]:
    """What the page would have to show of this signal and does not."""
    text = text_of(page, signal["ticker"])
    lacks = [words for words in _words_of(signal) if words not in text]
    others = [words for words in ACTIONS.values() if words != ACTIONS[signal["action"]] and words in text]
    return lacks + [f"not {words}" for words in others]


def wait_shown(page: Page, condition: Callable[[], object], words: str) -> None:
    """Return once `condition` holds. Raises AssertionError with `words` and what the page shows if it does not."""
    try:
        wait_for(condition, every_s=0.1)
    except AssertionError:
        raise AssertionError(f"{words}: {band_of(page)} {[text_of(page, ticker) for ticker in TICKERS]}") from None


def dollars(price: float) -> str:
    return f"${price:,.2f}"


def _words_of(signal: Mapping[str, Any]) -> list[str]:
    words = [ACTIONS[signal["action"]]]
    if signal["decision_hour"] is None:
        words.append("There is no decision of this hour.")
    elif signal["lock"]["state"] == "previous":
        words.append(f"{signal['decision_hour']}:00's stands")
    else:
        words.append(f"on bars up to {signal['decision_hour']}:00")
    if signal["probability"] is not None:
        words.append(
            f"{signal['probability'] * 100:.1f}%: the model's probability that {TARGETS[signal['active_target']]}"
        )
    if signal["prices"]["now"] is not None:
        words.append(dollars(signal["prices"]["now"]))
    if signal["levels"] is not None:
        names = ("entry_price", "stop_loss", "take_profit")
        words += [dollars(price) for name in names if (price := signal["levels"][name]) is not None]
        words.append(f"{signal['size']['percent_of_capital']:.1f}% of capital")
    return words
