"""What the tests read of Markdown pages: sections, tables, code blocks, links and the anchors of headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    """A fenced block: its language as the fence names it (empty without), and its lines."""

    language: str
    lines: list[str]


def pages() -> list[Path]:
    """Every Markdown page of the project."""
    loose = (path for path in ROOT.glob("*.md"))
    return sorted([*loose, *(path for folder in ("docs", "ops", "bench") for path in (ROOT / folder).rglob("*.md"))])


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return FENCE.sub("", text)


def blocks(text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        yield Block(found["language"], found["body"].splitlines())


def section(text: str, heading: str) -> str:
    """What stands below a heading of any level, up to the next one of its level or above. Raises KeyError."""
    found = list(HEADING.finditer(text))
    for number, match in enumerate(found):
        if match[2] == heading:
            ends = (later.start() for later in found[number + 1 :] if len(later[1]) <= len(match[1]))
            return text[match.end() : next(ends, len(text))]
    raise KeyError(heading)


def table(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its header row."""
    lines = text[text.index("\n| ") :].splitlines()[1:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]][2:]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for _, title in HEADING.findall(prose(text)):
        name = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def links(text: str) -> list[str]:
    """Where the links of a page lead, those inside code left out."""
    return LINK.findall(SPAN.sub("", prose(text)))
