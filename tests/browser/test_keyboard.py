"""Every function of the page without a mouse: what can be operated is reached by Tab, shows the focus, and does its work."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.watching import Tab, tab
from tests.serving.test_gunicorn import Server

OpenTab = Callable[..., Tab]
VIEWS = (
    "/",
    "/dashboard/SPY?date=2024-06-12&time=14:00",
    "/dashboard/SPY/record",
    "/dashboard/SPY/model",
    "/dashboard/system",
)
WITH_CARDS = VIEWS[:2]
CONTROLS = """() => {
  const found = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")
  const groups = new Set()
  return [...found].filter((one) => {
    if (one.disabled || one.checkVisibility({ visibilityProperty: true }) === false) return false
    if (one.type !== "radio") return true
    const isFirst = !groups.has(one.name)
    groups.add(one.name)
    return isFirst
  }).map(NAME)
}"""
"""What can be operated; of the choices of a group one, since arrows lead to the others."""

FOCUS = """() => {
  const one = document.activeElement
  if (one === document.body) return null
  const { outlineStyle, outlineWidth } = getComputedStyle(one)
  return { name: NAME(one), isSeen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 }
}"""
NAME = """(one) => {
  const words = [one.getAttribute("aria-label") ?? one.id, one.textContent.trim().slice(0, 40), one.getAttribute("href")]
  return one.type === "radio" ? `radio ${one.name}` : [one.tagName, ...words].join(" ")
}"""
NOTIFICATIONS_ALLOWED = """if (Notification.permission === "denied")
  Object.defineProperty(Notification, "permission", { get: () => "granted" })"""
"""What the viewer has allowed, which Chromium without windows refuses to every page."""
MOST = 150


def walk(page: Page) -> tuple[list[str], set[str]]:
    """What Tab leads to, in its order, until it leaves the page; and where the focus cannot be seen."""
    names: list[str] = []
    seen: set[str] = set()
    for _ in range(MOST):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS.replace("NAME", f"({NAME})"))
        if focus is None:
            return names, set(names) - seen
        names.append(focus["name"])
        if focus["isSeen"]:  # a field for a date has parts, of which the browser itself marks some
            seen.add(focus["name"])
    raise AssertionError(f"the focus does not leave the page: {names}")


def reach(page: Page, target: Locator) -> None:
    """Press Tab until the focus is there. The target is looked up again only once the page has replaced it: to look for a role
    takes longer than the key."""
    found = target.element_handle()
    for _ in range(MOST):
        page.keyboard.press("Tab")
        if page.evaluate("(one) => !one.isConnected", found):
            found = target.element_handle()
        if page.evaluate("(one) => one === document.activeElement", found):
            return
    raise AssertionError(f"Tab does not lead to {target}")


@pytest.mark.soak
@pytest.mark.parametrize("view", VIEWS)
def test_tab_leads_to_all_that_can_be_operated_and_the_focus_is_seen(open_tab: OpenTab, view: str) -> None:
    tab = open_tab()
    page = tab.open(view)
    expect(page.get_by_role("heading", level=2).first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Copy .* as JSON"))).to_have_count(
        3 if view in WITH_CARDS else 0
    )
    if view != "/dashboard/system":  # there a request is open for as long as it is shown
        tab.settle()
    names, unseen = walk(page)
    assert names[0].startswith("A  Skip to the signals")
    assert unseen == set()
    assert set(page.evaluate(CONTROLS.replace("NAME", f"({NAME})"))) - set(names) == set()


def test_everything_is_done_without_a_mouse(open_tab: OpenTab) -> None:
    tab = open_tab(permissions=["clipboard-read", "clipboard-write", "notifications"])
    tab.page.add_init_script(NOTIFICATIONS_ALLOWED)
    page = tab.open()
    keys = page.keyboard
    expect(page.locator(".card[data-ticker=SPY] [data-action]")).to_be_visible()

    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator("#main"), "the link skips to the signals").to_be_focused()

    page.evaluate("document.activeElement.blur()")
    reach(page, page.locator(".card[data-ticker=SPY] summary"))
    keys.press("Enter")
    expect(page.locator(".card[data-ticker=SPY] details[open]")).to_be_visible()

    reach(page, page.get_by_role("button", name="Copy SPY as JSON").first)
    keys.press("Enter")
    expect(page.get_by_text(re.compile("copied|Copied")).first).to_be_visible()
    assert '"ticker"' in page.evaluate("navigator.clipboard.readText()")

    reach(page, page.get_by_role("button", name="Copy SPY as curl").first)
    keys.press("Space")
    expect(page.get_by_text("The curl command copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl ")

    reach(page, page.get_by_role("radio", name="1 min", exact=True))
    keys.press("ArrowRight")
    expect(page.get_by_role("radio", name="5 min", exact=True)).to_be_checked()

    cursor = page.get_by_role("slider").first
    expect(cursor, "it has bars to go back to").to_have_attribute("aria-valuemax", re.compile("^[1-9]"))
    reach(page, cursor)
    before = cursor.get_attribute("aria-valuetext")
    keys.press("ArrowLeft")
    keys.press("ArrowLeft")
    expect(cursor).not_to_have_attribute("aria-valuetext", str(before))

    reach(page, page.get_by_role("button", name="Table").first)
    keys.press("Space")
    expect(page.get_by_role("table").first).to_be_visible()

    reach(page, page.get_by_role("checkbox", name="Notification"))
    keys.press("Space")
    reach(page, page.get_by_role("checkbox", name="Sound"))
    keys.press("Space")
    reach(page, page.get_by_role("checkbox", name="Only BUY CALL and BUY PUT"))
    keys.press("Space")
    reach(page, page.get_by_role("button", name="Test").first)
    keys.press("Space")
    expect(page.get_by_text("Sent a notification and a sound.")).to_be_visible()
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(3)


@pytest.mark.soak
def test_a_past_moment_is_found_without_a_mouse(open_tab: OpenTab) -> None:
    page = open_tab().open("/dashboard/SPY?date=2024-06-12&time=14:00")
    slider = page.get_by_role("slider").first
    expect(slider).to_be_visible()
    reach(page, page.get_by_role("slider").first)
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("time=14:0[1-9]"))
    reach(page, page.get_by_role("button", name=re.compile("Day before")).first)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("date=2024-06-11"))


@pytest.mark.soak
def test_a_signal_of_the_record_is_verified_without_a_mouse(open_tab: OpenTab, server: Server) -> None:
    server.get("/v2/trading-directions")
    page = open_tab().open("/dashboard/SPY/record")
    row = page.get_by_role("row").filter(has=page.get_by_role("button", name=re.compile("^Verify"))).first
    expect(row).to_be_visible()
    reach(page, row.get_by_role("button"))
    page.keyboard.press("Enter")
    expect(row.get_by_role("status")).to_contain_text("Equal")


@pytest.mark.soak
def test_a_key_is_used_and_forgotten_without_a_mouse(browser: Browser, guarded: tuple[Server, str]) -> None:
    server, secret = guarded
    with tab(browser, server.base) as shown:
        page = shown.open("/dashboard/system")
        reach(page, page.get_by_label("Key", exact=True))
        page.keyboard.type(secret)
        page.keyboard.press("Enter")
        expect(page.get_by_text("This page sends a key.")).to_be_visible()
        reach(page, page.get_by_role("button", name="Forget it"))
        page.keyboard.press("Enter")
        expect(page.get_by_text("This page sends no key.")).to_be_visible()
        reach(page, page.get_by_role("button", name="Try again now"))
        page.keyboard.press("Enter")
        expect(page.locator('[data-connection="open"]')).to_be_visible()


@pytest.mark.soak
def test_the_views_and_the_colours_are_chosen_without_a_mouse(open_tab: OpenTab) -> None:
    page = open_tab(scheme="light").open()
    for name in ("Track record", "Model", "System", "Today"):
        reach(page, page.get_by_role("link", name=name).first)
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name=name, exact=True).first).to_have_attribute("aria-current", "page")
    page.evaluate("document.activeElement.blur()")
    reach(page, page.get_by_role("combobox", name="Colours").first)
    page.keyboard.type("D")
    expect(page.locator("html[data-theme=dark]")).to_be_attached()
