"""Each page of the docs site is read in a browser at the width of a phone: only tables of numbers and code are scrolled
sideways, axe finds nothing wrong, and no other host is asked. In CI the theme's own script runs on a page of each kind, and in
the soak on all of them: it takes as long as all the rest of a page, and lays out nothing of its width."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from docs.build import build
from tests.browser.watching import ALL_LOOKS, DESKTOP, FITS, PHONE, Look, Tab, tab

CUT_OFF = """[...document.querySelectorAll(".md-typeset td")]
  .filter((cell) => cell.textContent.length > 60 && cell.getBoundingClientRect().right > innerWidth)
  .map((cell) => cell.textContent.slice(0, 60))"""
"""The sentences in tables whose ends are off screen."""

LOOKS: tuple[Look, ...] = ((PHONE, "light"), (PHONE, "dark"))
KINDS = ("index.html", "client-examples.html", "operators.html", "glossary.html")
"""Pages that hold every kind of thing of which a page is made: tabs, code in three languages, wide tables, lists of terms."""


class Files(SimpleHTTPRequestHandler):
    """Sends the files of a folder."""

    def log_message(self, *_: Any) -> None:
        pass


class WithoutTheme(Files):
    """Sends the theme's script empty, and with it no search."""

    def do_GET(self) -> None:
        if "/javascripts/bundle." not in self.path:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript")
        self.send_header("Content-Length", "0")
        return self.end_headers()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    build(folder)
    return folder


@contextmanager
def sent(site: Path, files: type[Files]) -> Iterator[str]:
    """The address of a server of the site."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(files, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def base(site: Path) -> Iterator[str]:
    with sent(site, Files) as address:
        yield address


def read(shown: Tab, place: str, looks: tuple[Look, ...]) -> list[str]:
    """What is wrong with a page in these looks."""
    shown.page.goto(f"{shown.base}/{place}", wait_until="load")
    return [f"{place}: {wrong}" for wrong in shown.looked_at(looks)]


def places(site: Path) -> list[str]:
    """The pages that the generator made; the report of the models has a test of its own."""
    return sorted(str(path.relative_to(site)) for path in site.rglob("*.html") if path.name != "report.html")


def test_every_page_fits_a_phone_and_breaks_nothing(browser: Browser, site: Path) -> None:
    assert len(places(site)) > 20
    cut_off: list[str] = []
    with sent(site, WithoutTheme) as base, tab(browser, base, PHONE) as shown:
        for place in places(site):
            shown.page.goto(f"{base}/{place}", wait_until="load")
            assert shown.page.evaluate(FITS), place
            cut_off += [f"{place}: {text}" for text in shown.page.evaluate(CUT_OFF)]
        assert shown.wrong + cut_off == []


def test_axe_finds_nothing_on_a_page_of_each_kind(browser: Browser, base: str, site: Path) -> None:
    """Every other page in dark colours; and one in a wide window, which has the list of pages."""
    assert set(KINDS) <= set(places(site))
    with tab(browser, base, PHONE) as shown, tab(browser, base, DESKTOP) as wide:
        found = [read(shown, place, (LOOKS[number % 2],)) for number, place in enumerate(KINDS)]
        found.append(read(wide, "glossary.html", ((DESKTOP, "light"),)))
        assert sum(found, shown.wrong + wide.wrong) == []


def test_tabs_and_the_search_work_without_any_other_host(browser: Browser, base: str) -> None:
    with tab(browser, base, PHONE) as shown:
        page = shown.page
        page.goto(f"{base}/client-examples.html")
        page.get_by_text("TypeScript", exact=True).first.click()
        expect(page.get_by_text("const board = ").first).to_be_visible()
        page.locator("label[for=__search]").first.click()
        page.get_by_role("combobox", name="Search").fill("neutral zone")
        expect(page.get_by_role("option").filter(has_text="Glossary").first).to_be_visible()
        assert shown.wrong == []


@pytest.mark.soak
@pytest.mark.parametrize("look", ALL_LOOKS)
def test_every_page_is_read_in_any_look(browser: Browser, base: str, site: Path, look: Look) -> None:
    with tab(browser, base, DESKTOP) as shown:
        assert sum((read(shown, place, (look,)) for place in places(site)), shown.wrong) == []
