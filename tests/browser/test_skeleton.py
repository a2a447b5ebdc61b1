"""The dashboard in a browser: it keeps its policy, follows links, and is small."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.watching import BUILT, Tab, gzipped
from tests.waiting import wait_for

OpenTab = Callable[..., Tab]
MAX_BYTES = 150_000
CHARTS = "lightweight-charts"


def test_what_breaks_the_policy_is_noticed(open_tab: OpenTab) -> None:
    tab = open_tab()
    page = tab.open()
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'document.title = 1' }))"
    )
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')")

    def is_noticed(rule: str) -> bool:
        page.evaluate("true")  # what the browser says is heard only while something is asked
        return any("Content Security Policy" in wrong and rule in wrong for wrong in tab.wrong)

    wait_for(lambda: is_noticed("script-src") and is_noticed("style-src"), "nothing is noticed")
    tab.wrong.clear()


@pytest.mark.soak
def test_links_change_the_view_without_loading_the_page_again(open_tab: OpenTab) -> None:
    page = open_tab().open("/dashboard/QQQ")
    page.evaluate("window.same = true")
    page.get_by_role("link", name="Track record").click()
    expect(page.get_by_role("heading", name="Track record")).to_be_visible()
    assert page.url.endswith("/dashboard/QQQ/record")
    page.go_back()
    expect(page.get_by_role("heading", name="Today's chart")).to_be_visible()
    assert page.evaluate("window.same"), "it is still the same page"


@pytest.mark.soak
def test_the_choice_of_colours_is_kept_on_this_device(open_tab: OpenTab) -> None:
    tab = open_tab(scheme="light")
    page = tab.open()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Colours").select_option("dark")
    dark = page.evaluate(ground)
    assert dark != light
    tab.open("/dashboard/system")
    assert page.evaluate(ground) == dark
    page.get_by_label("Colours").select_option("system")
    assert page.evaluate(ground) == light


def test_the_page_is_small_before_the_chart_library() -> None:
    files = [path for path in (BUILT.parent / "assets").iterdir() if path.suffix in (".js", ".css")]
    sizes = {path.name: gzipped(path) for path in files if not path.name.startswith(CHARTS)}
    assert sum(sizes.values()) < MAX_BYTES, sizes


def test_the_page_holds_no_script_and_no_style_of_its_own() -> None:
    text = BUILT.read_text()
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", text) == []
    assert [link for link in re.findall(r'(?:src|href)="([^"]*)"', text) if not link.startswith("/")] == []
