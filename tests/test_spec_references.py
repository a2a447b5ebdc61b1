"""Every citation of the specification leads somewhere: chapters, rows, rulings and names in docs/spec and docs/architecture.md.

docs/spec/README.md lists the forms. A page is cited as `policy.md 3`; what follows the page belongs to it: further chapters
and ranges, rows (`call 10`, `gates 3 and 4`, `rule 0`), names that the chapter explains, and ids (`N1`, `S5`).
"""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "docs" / "spec"
PAGES = ("v1-contract", "policy", "v6", "northstar", "rpe", "swing", "polygon", "dashboard-proof")
STRUCTURE = ("northstar", "rpe", "swing")
FOLDERS = ("app", "blueprints", "middleware", "serving", "bench", "tests", "ops")
LOOSE = ("README.md", "CONTRIBUTING.md", "gunicorn.conf.py", "wsgi.py", ".railway/railway.py")
TEXT = {".py", ".md"}
ARCHITECTURE = ROOT / "docs" / "architecture.md"

ID = r"(?:NZ|EX|DO|SC|TS|P5|OC|SV|NR|N|R|S|B|M|T|V|A|L)-?\d{1,2}"
NUMBER = r"\d{1,2}(?:\.\d{1,2})?"
PAGE = re.compile(rf"\b(?P<page>{'|'.join(PAGES)})\.md\b")
ITEM = re.compile(
    rf"""(?P<join>^[ ]?|,[ ]|;[ ]|:[ ]|[ ]and[ ]|-)          # how it is joined to what came before
    (?:rule[ ](?P<rule>\d)
     |(?P<kind>calls?|gates?)[ ](?P<rows>\d+(?:(?:,[ ]|[ ]and[ ]|-)\d+)*)
     |(?P<id>{ID}|DIR|TR|E|Q)(?![\w.])
     |(?<![;:][ ])(?P<chapter>{NUMBER})(?![\w%:.]\d|\w)
     |(?<=,[ ])(?P<name>[a-z]+(?:_[a-z0-9]+)+)
    )(?P<part>[ ]\(?[ab]\)?(?!\w))?""",
    re.VERBOSE,
)
RULINGS = re.compile(rf"(?<!\w)[Rr]ulings?[ ](?P<ids>{ID}(?:(?:,[ ]|[ ]and[ ]|-){ID})*)")
DECISIONS = re.compile(r"\b[Dd]ecisions?[ ](?P<ids>\d(?:(?:,[ ]|[ ]and[ ])\d)*)(?!\d|:)")
IDEA = re.compile(r"\barchitecture,[ ]idea[ ](?P<number>\d+)")
SECTION = re.compile(r'\barchitecture,?[ ]"(?P<title>[^"]+)"')
BARE = re.compile(r"(?<![\w./-])(?P<id>[NRS]\d{1,2}|B\d|P5-\d)(?![\w.-])")
ALONE = re.compile(r'^\s*(?:"""\d\.\d{1,2}\b|#[^()]*\(\d{1,2}(?:\.\d{1,2})?[,;)-])')
HINT = re.compile(rf"(?:{'|'.join(PAGES)})\.md|[Rr]ulings?[\s#\"]+{ID}|[Dd]ecisions?[\s#\"]+\d|architecture")
HINT_ALONE = re.compile(r'"""\d\.\d{1,2}\b|#[^()]*\(\d')
"""Found in the text of each file in whose words there is a citation, or a chapter without its page. To read the words of a
program takes longer."""

LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
LONGEST = 120
"""Characters that one item of a citation may take."""

GLUE = re.compile(r"[ \t]*\n[ \t]*(?:#[ ]?|\"\"\")?[ \t]*")


@dataclass(slots=True)
class Page:
    """What can be cited of a page: its chapters with their text, titles, and the ids of its rows."""

    chapters: dict[str, str] = field(default_factory=dict)
    titles: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    rows: dict[str, set[str]] = field(default_factory=dict)


class Citation(NamedTuple):
    """One thing that a text cites, and the line on which it does so."""

    line: int
    target: str
    page: str
    chapter: str = ""
    row: str = ""
    name: str = ""


@cache
def page(path: Path) -> Page:
    """A page's headings, the text below each, and the first cells of its tables."""
    found, chapters = Page(), [""]
    for line in path.read_text().splitlines():
        if heading := re.match(rf"(#+) (?:({NUMBER})\.? )?(.*)", line):
            chapters = _chapters(heading[2] or "")
            found.titles.add(heading[3])
        cells = [cell.strip(" *`") for cell in line.split("|")[1:2]] if line.startswith("| ") else []
        first = cells[0] if cells else ""
        found.ids.update(
            re.findall(rf"(?<![\w-])(?:{ID}|DIR|TR)(?![\w-])", first), re.findall(r"\b[EN]\d?(?=\()", first)
        )
        if re.fullmatch(NUMBER, first) and "." in first:
            found.chapters[first] = line
        for chapter in chapters:
            found.chapters[chapter] = found.chapters.get(chapter, "") + line + "\n"
            found.rows.setdefault(chapter, set()).add(first)
    return found


def _chapters(number: str) -> list[str]:
    """The chapters that text below a heading belongs to: 3.8 also belongs to 3."""
    return [number, number.split(".")[0]] if "." in number else [number]


def spec(name: str) -> Page:
    return page(SPEC / f"{name}.md")


def citations(text: str) -> Iterator[Citation]:
    """All citations in a text, whose lines may break inside them."""
    joined, lines = _joined(text)
    for start in PAGE.finditer(joined):
        yield from _of_page(joined, start, lines)
    for match in RULINGS.finditer(joined):
        yield from (Citation(lines[match.start()], match[0], "README", row=i) for i in _spread(match["ids"]))
    for match in DECISIONS.finditer(joined):
        yield from (Citation(lines[match.start()], match[0], "README", row=i) for i in re.findall(r"\d", match["ids"]))
    for match in IDEA.finditer(joined):
        yield Citation(lines[match.start()], match[0], "architecture", row=match["number"])
    for match in SECTION.finditer(joined):
        yield Citation(lines[match.start()], match[0], "architecture", name=match["title"])


def _of_page(text: str, start: re.Match[str], lines: list[int]) -> Iterator[Citation]:
    """A page and the items after it: chapters, ranges of chapters, rows, names and ids."""
    name, chapter, at, line = start["page"], "", start.end(), lines[start.start()]
    yield Citation(line, start[0], name)
    while (item := ITEM.match(text[at : at + LONGEST])) and not (item["join"] == "-" and not item["chapter"]):
        target = text[start.start() : at + item.end()]
        if item["chapter"]:
            first, chapter = chapter, item["chapter"]
            for number in _between(first, chapter) if item["join"] == "-" else (chapter,):
                yield Citation(line, target, name, chapter=number)
        elif item["rule"]:
            yield Citation(line, target, name, chapter, name=f"Rule {item['rule']}")
        elif item["rows"]:
            yield from (Citation(line, target, name, chapter, row=row) for row in re.findall(r"\d+", item["rows"]))
        else:
            yield Citation(line, target, name, chapter, row=item["id"] or "", name=item["name"] or "")
        at += item.end()


def _between(first: str, last: str) -> list[str]:
    """`3`, `8` gives 3 to 8; `4.4`, `4.6` gives 4.4 to 4.6."""
    head, low = first.rpartition(".")[::2]
    high = last.rpartition(".")[2]
    return [f"{head}.{n}" if head else str(n) for n in range(int(low), int(high) + 1)]


def _spread(ids: str) -> Iterator[str]:
    """`S2-S4` gives S2, S3, S4; `T1, T5` gives both."""
    for part in re.split(r", | and ", ids):
        first, _, last = part.partition("-")
        letter = first[0]
        yield from (f"{letter}{n}" for n in range(int(first[1:]), int((last or first)[1:]) + 1))


def _joined(text: str) -> tuple[str, list[int]]:
    """The text in one line, and the line number of each of its characters."""
    pieces: list[str] = []
    lines: list[int] = []
    at, line = 0, 1
    for glue in GLUE.finditer(text):
        piece = text[at : glue.start()] + " "
        pieces.append(piece)
        lines += [line] * len(piece)
        at, line = glue.end(), line + glue[0].count("\n")
    pieces.append(text[at:])
    lines += [line] * (len(text) - at)
    return "".join(pieces), lines


def problem(citation: Citation) -> str | None:
    """Why a citation leads nowhere."""
    where = page(ARCHITECTURE) if citation.page == "architecture" else spec(citation.page)
    if citation.chapter and citation.chapter not in where.chapters:
        return f"there is no chapter {citation.chapter}"
    if citation.row and citation.row not in _rows(citation, where):
        return f"there is no row {citation.row}"
    if citation.page == "architecture" and citation.name and citation.name not in where.titles:
        return f"there is no section {citation.name!r}"
    if citation.page in PAGES and citation.name and citation.name not in where.chapters[citation.chapter]:
        return f"the chapter does not explain {citation.name}"
    return None


def _rows(citation: Citation, where: Page) -> set[str]:
    """The rows that a citation may name: of its chapter, and the ids of its page; structure pages share theirs."""
    rows = set().union(*where.rows.values()) if not citation.chapter else where.rows[citation.chapter]
    inherited = set().union(*(spec(name).ids for name in STRUCTURE)) if citation.page in STRUCTURE else set()
    text = where.chapters.get(citation.chapter, "")
    explained = {"Q"} if citation.row == "Q" and "Q = " in text else set()
    return rows | where.ids | inherited | explained


@cache
def known_ids() -> set[str]:
    """Ids that stand alone in comments: differences of the structure pages, baselines, invariants."""
    return set().union(*(spec(name).ids for name in (*STRUCTURE, "v6", "policy")))


def files() -> list[Path]:
    """Everything that may cite, but for this module, whose examples are broken on purpose."""
    found = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.suffix in TEXT]
    pages = [*SPEC.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    return sorted(path for path in (*found, *(ROOT / name for name in LOOSE), *pages) if path != Path(__file__))


def hinting(hint: re.Pattern[str]) -> list[Path]:
    return [path for path in files() if hint.search(path.read_text())]


@cache
def prose(path: Path) -> str:
    """What a file says in words: of Python its comments and strings, each on the line where it stands."""
    text = path.read_text()
    if path.suffix != ".py":
        return text
    lines = [""] * (text.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for offset, line in enumerate(token.string.splitlines()):
                lines[token.start[0] - 1 + offset] += " " + line
    return "\n".join(lines)


def broken(text: str) -> list[str]:
    return [f"{found.line}: {found.target}: {why}" for found in citations(text) if (why := problem(found)) is not None]


def test_every_citation_leads_somewhere() -> None:
    assert [f"{path.relative_to(ROOT)}:{line}" for path in hinting(HINT) for line in broken(prose(path))] == []


def test_every_id_that_stands_alone_is_explained() -> None:
    """`(N8)` in a comment of the structure code, `B2` in one of the model."""
    folders = ("app/structure", "app/model", "tests/structure")
    texts = {path: prose(path).splitlines() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))}
    unknown = [
        f"{path.relative_to(ROOT)}:{number}: {match['id']}"
        for path, lines in texts.items()
        for number, line in enumerate(lines, 1)
        for match in BARE.finditer(RULINGS.sub("", line))
        if match["id"] not in known_ids()
    ]
    assert unknown == []


def test_every_chapter_is_cited_with_its_page() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in hinting(HINT_ALONE)
        if path.suffix == ".py"
        for number, line in enumerate(prose(path).splitlines(), 1)
        if ALONE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "policy.md 14",
        "policy.md 3, gates 3 and 10",
        "policy.md 13, P5-7",
        "polygon.md 3.17",
        "polygon.md 2, call 12",
        "northstar.md 8-10",
        "northstar.md 9: N16",
        "rpe.md 4, no_such_part",
        "rpe.md 7, N9, R14",
        "swing.md 2, rule 1",
        "v6.md 7, B5",
        "v1-contract.md 4.2, 4.4-4.10",
        "rulings S2-S10",
        "ruling V9",
        "decision 9",
        "architecture, idea 8",
        'architecture, "Answering slowly"',
        "a sentence (northstar.md\n    3.12) that breaks",
        "# a comment (rulings\n# T1, T8)",
    ],
)
def test_a_citation_that_leads_nowhere_is_found(text: str) -> None:
    assert len(broken(text)) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "policy.md 3, gates 3 and 4",
        "polygon.md 2, call 6",
        "polygon.md 3.9, 5",
        "northstar.md 3, rule 0",
        "northstar.md 9: N1, N7, N8; rulings T1, T5",
        "northstar.md 3.3 a, b",
        "rpe.md 3.3; 60 bars give 59 true ranges",
        "rpe.md 4, allow_signal",
        "swing.md 2.3, S3",
        "v6.md 7, B2",
        "rulings S2-S4 and M7",
        "architecture, idea 3",
        'architecture, "Answering fast"',
    ],
)
def test_a_citation_that_leads_somewhere_is_not(text: str) -> None:
    assert broken(text) == []


def test_the_line_of_a_broken_citation_is_told() -> None:
    assert broken("first\nsecond (policy.md 3)\nthird (policy.md\n40)") == ["3: policy.md 40: there is no chapter 40"]


def test_every_page_is_listed_and_every_link_leads_to_a_file() -> None:
    index = (SPEC / "README.md").read_text()
    assert {path.stem for path in SPEC.glob("*.md")} == {*PAGES, "README"}
    assert [name for name in PAGES if f"]({name}.md)" not in index] == []
    links = [(path, link) for path in (*SPEC.glob("*.md"), ARCHITECTURE) for link in LINK.findall(path.read_text())]
    assert [f"{path.name}: {link}" for path, link in links if not (path.parent / link).exists()] == []


def test_the_specification_names_every_field_that_v1_sends() -> None:
    words = set(re.findall(r"\w+", "".join(path.read_text() for path in SPEC.glob("*.md"))))
    samples = {path.name: json.loads(path.read_text()) for path in (ROOT / "tests/contract/v1").glob("*.json")}
    assert [f"{name}: {key}" for name, body in samples.items() for key in _keys(body) if key not in words] == []


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from _keys(item)


def test_what_the_architecture_names_is_in_the_tree() -> None:
    named = re.findall(r"`((?:[\w.-]+/)+(?:[\w-]+\.py)?)`", ARCHITECTURE.read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
