"""How soon the dashboard is there on a processor that is four times as slow: `python -m bench.page`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from tests.browser.watching import DESKTOP, PHONE, launched, tab
from tests.serving.test_gunicorn import SERVE, started

SLOWER = 4
ROUNDS = 5
OBSERVE = """() => {
  window.tasks = []
  new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: "longtask", buffered: true })
}"""
READ = """() => ({
  paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
  blocked: window.tasks.reduce((sum, duration) => sum + Math.max(0, duration - 50), 0),
})"""


def measured(page: Page, address: str) -> tuple[float, float]:
    """First contentful paint and total blocking time of the first seconds, milliseconds."""
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.add_init_script(f"({OBSERVE})()")
    page.goto(address)
    page.wait_for_selector(".card [data-action]")
    page.wait_for_timeout(5_000)
    found = page.evaluate(READ)
    return found["paint"], found["blocked"]


def main() -> None:
    """Print a line for each window."""
    print(f"dashboard, processor {SLOWER} times as slow, {ROUNDS} rounds: median in ms")
    print("| window | first contentful paint | total blocking time |")
    print("| --- | --- | --- |")
    with TemporaryDirectory() as folder, launched() as browser:
        limits = {"RATE_LIMIT_OTHER": 100_000, "RATE_LIMIT_STREAMS": 100_000}
        with started(SERVE, Path(folder) / "log", MARKET="demo", DATA_DIR=folder, **limits) as server:
            server.wait_ready()
            server.get("/v2/trading-directions")
            for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
                rounds = []
                for _ in range(ROUNDS):
                    with tab(browser, server.base, size) as shown:
                        rounds.append(measured(shown.page, server.base))
                paint, blocked = (median(column) for column in zip(*rounds, strict=True))
                print(f"| {name} | {paint:.0f} | {blocked:.0f} |")


if __name__ == "__main__":
    main()
