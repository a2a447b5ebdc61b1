"""The docs site is built strictly: every page is in it, every link and anchor of what was built leads somewhere, and nothing is
loaded from another host."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

from docs import build as docs
from tests.markdown import anchors, pages

pytestmark = pytest.mark.integration


class Read(HTMLParser):
    """What a page names: its anchors, where its links lead, what it loads, and its text outside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {name for key in ("id", "name") if (name := given.get(key))}
        if tag == "a" and (href := given.get("href")):
            self.links.append(href)
        elif address := given.get("src") or given.get("href"):
            self.loaded.append(address)


class Site(NamedTuple):
    folder: Path
    pages: dict[Path, Read]

    def dead(self, page: Path, address: str) -> bool:
        """Whether an address on a page leads to no file of the site, or to no anchor of it."""
        parts = urlsplit(address)
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if target.is_dir():
            target /= "index.html"
        named = self.pages.get(target)
        return not target.is_file() or bool(parts.fragment and (named is None or parts.fragment not in named.anchors))


def is_elsewhere(address: str) -> bool:
    return bool(re.match(r"[a-z]+:|//", address))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("docs") / "site"
    docs.build(folder)
    return Site(folder, {path: Read(path.read_text()) for path in folder.rglob("*.html")})


def test_every_heading_of_a_page_is_an_anchor_of_it_in_the_site(site: Site) -> None:
    for place in docs.places():
        built = (site.folder / place).with_suffix(".html")
        if built.stem == "README":
            built = built.with_stem("index")
        headings = anchors(docs.source(place).read_text())
        assert headings - site.pages[built].anchors == set(), place


def test_no_link_and_no_anchor_of_the_built_site_is_dead(site: Site) -> None:
    assert len(site.pages) > len(pages())
    dead = [
        f"{path.relative_to(site.folder)}: {link}"
        for path, page in site.pages.items()
        for link in (*page.links, *page.loaded)
        if not is_elsewhere(link) and not link.startswith("/") and site.dead(path, link)
    ]
    assert dead == []


def test_a_dead_link_of_the_built_site_is_found(site: Site) -> None:
    links = ["traders.html", "none.html", "traders.html#what-the-model-is-worth", "traders.html#none", "#none", "spec/"]
    assert [link for link in links if site.dead(site.folder / "index.html", link)] == [
        "none.html",
        "traders.html#none",
        "#none",
    ]


def test_a_link_to_a_file_that_is_not_there_ends_the_build() -> None:
    with pytest.raises(docs.DeadLink, match=r"README\.md: docs/none\.md"):
        docs.with_links(docs.ROOT / "README.md", "[a](docs/traders.md) `[b](c.md)` [d](docs/none.md)", set())


def test_links_lead_to_where_files_lie_in_the_site() -> None:
    linked: set[Path] = set()
    page, text = (
        docs.DOCS / "deploying.md",
        "[a](../README.md#b) [c](../ops/regions/railway.json) [d](spec/README.md) [e](#f)",
    )
    shown = docs.with_links(page, text, linked)
    assert shown == "[a](project/README.md#b) [c](project/ops/regions/railway.json) [d](spec/README.md) [e](#f)"
    assert linked == {docs.ROOT / "ops" / "regions" / "railway.json"}


def test_the_same_example_in_several_languages_is_shown_in_tabs() -> None:
    curl, python, output = "```sh\ncurl x\n```\n", "```python\nget(x)\n```\n", "```json\n{}\n```\n"
    shown = docs.with_tabs(f"{curl}\n{python}\n{output}\nwords\n\n{curl}")
    tabs = '=== "curl"\n\n    ```sh\n    curl x\n    ```\n\n=== "Python"\n\n    ```python\n    get(x)\n    ```\n\n'
    assert shown == f"{tabs}{output}\nwords\n\n{curl}"


def test_blocks_with_words_between_them_stay_as_they_are() -> None:
    text = "```sh\ncurl x\n```\n\nwords\n\n```python\nget(x)\n```\n"
    assert docs.with_tabs(text) == text


def test_the_site_loads_nothing_from_another_host(site: Site) -> None:
    elsewhere = [
        (path.name, address)
        for path, page in site.pages.items()
        for address in page.loaded
        if is_elsewhere(address) and not address.startswith("data:")
    ]
    assert elsewhere == []
    styles = "".join(path.read_text() for path in site.folder.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?https?:[^)]*", styles) == []
