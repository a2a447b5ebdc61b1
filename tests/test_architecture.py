"""Who may import whom (CONTRIBUTING.md, "The house"): each forbidden edge fails by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parent.parent
ORDER = (
    "app.errors",
    "app.telemetry.stages",
    "app.config.api_versions",
    "app.config.api_keys",
    "app.live.events",
    "app.live.interest",
    "app.live.lifecycle",
    "app.sqlite",
    "app.redis_address",
    "app.redis_patience",
    "app.redis_pools",
    "app.redis_database",
    "app.market",
    "app.simulator",
    "app.structure",
    "app.model",
    "app.signals",
    "app.pipeline",
    "app.live.live_event",
    "app.live.event_log",
    "app.live.redis_event_log",
    "app.live.append_listener",
    "app.live.feed",
    "app.live.gap",
    "app.live.sequence",
    "app.live.broadcaster",
    "app.live.jobs",
    "app.live.model_watch",
    "app.live.plan_probe",
    "app.live.calendar_upkeep",
    "app.live.follower",
    "app.notify",
    "app.core",
    "app.telemetry",
    "blueprints",
    "app.factory",
    "wsgi",
)
BASE = {
    "app.config.settings",
    "app.config.notify_settings",
    "app.config.setting_types",
    "app.config.setting_errors",
    "app.config.replica",
    "app.clock",
    "app.places",
}
PURE = {
    "app.config.api_versions",
    "app.market.bars",
    "app.market.calendar",
    "app.market.demo",
    "app.market.freshness",
    "app.market.nyse",
    "app.model.elementary",
    "app.model.features",
    "app.model.ranges",
    "app.model.scoring",
    "app.model.swing",
    "app.model.swing_features",
    "app.model.variances",
    "app.model.v6",
    "app.model.verdicts",
    "app.notify.backoff",
    "app.notify.message",
    "app.notify.steadiness",
    "app.signals.policy",
    "app.signals.daily_signal",
    "app.signals.durability",
    "app.signals.evidence",
    "app.signals.lock",
    "app.signals.outcomes",
    "app.signals.promise",
}
DIFFER = {
    "log",
    "log1p",
    "exp",
    "expm1",
    "log2",
    "log10",
    "power",
    "sin",
    "cos",
    "tanh",
    "dot",
    "matmul",
    "einsum",
    "linalg",
}
"""Functions of NumPy that differ in the last digit between processors."""
SERVED = tuple(
    f"app.model.{name}" for name in ("elementary", "features", "ranges", "swing", "swing_features", "v6", "variances")
)
"""What computes the features and the probabilities of a signal."""
TRAINING_ONLY = {
    "app.model.v6: np.exp",
    "app.model.ranges: np.exp",
}
"""`probabilities` and `fit_ranges`."""
PURE_PACKAGES = ("app.structure",)
PURE_MAY_IMPORT = {
    *(
        "__future__",
        "calendar",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "itertools",
        "math",
    ),
    *("typing", "zoneinfo", "numpy", "app.errors", "app.telemetry.stages"),
}
RULES_MAY_ALSO = {"holidays", "importlib"}
MAX_FILE_LINES, MAX_CLASS_LINES, MAX_METHODS, MAX_CACHED = 400, 200, 25, 32_768
N = TypeVar("N", bound=ast.AST)
LONG_FILES = {
    "app.structure.posture": "v1's analysis, whose outputs golden files hold; it stays as it is",
    "app.structure.swing": "v1's analysis, whose outputs golden files hold; it stays as it is",
}
"""Files of more than MAX_FILE_LINES lines, each with its reason."""

LARGE_CLASSES = {
    "app.config.settings.Settings": "it is a list of fields, one for each setting",
    "app.market.budget.Budget": "one transaction decides who may call, whoever asks; what it decides by is one file's state",
    "app.market.fetching.Fetcher": "a fetch from its call to what is kept of it; it is still to be cut",
}
"""Classes of more than MAX_CLASS_LINES lines without the docstring, or more than MAX_METHODS methods."""

WEB = {"flask", "werkzeug", "socketio", "flask_socketio", "blueprints", "middleware", "serving"}
JOINERS = ("app.factory", "app.commands", "app.cli")
"""The factory and the commands, with the modules of their packages, and the command line."""


@cache
def modules() -> dict[str, ast.Module]:
    files = [f for folder in ("app", "blueprints", "middleware", "serving") for f in (ROOT / folder).rglob("*.py")]
    return {_name(file): ast.parse(file.read_text()) for file in [*files, ROOT / "wsgi.py"]}


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """Full names of what a module imports, functions' own imports included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if (ROOT / whole.replace(".", "/")).with_suffix(".py").exists() else str(node.module)


@cache
def edges() -> list[tuple[str, str]]:
    return [(name, target) for name, tree in modules().items() for target in imports(name, tree)]


def rank(module: str) -> int | None:
    return next((i for i, part in enumerate(ORDER) if module == part or module.startswith(part + ".")), None)


def in_package(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def is_joiner(module: str) -> bool:
    return any(in_package(module, joiner) for joiner in JOINERS)


def is_pure(module: str) -> bool:
    return module in PURE or any(in_package(module, package) for package in PURE_PACKAGES)


def backward(found: list[tuple[str, str]]) -> list[str]:
    """Edges from left to right in ORDER."""
    ranked = [(a, b, rank(a), rank(b)) for a, b in found if not is_joiner(a)]
    return [
        f"{a} imports {b}" for a, b, left, right in ranked if left is not None and right is not None and right > left
    ]


def test_left_never_imports_right() -> None:
    assert backward(edges()) == []


def test_the_rule_catches_a_forbidden_edge() -> None:
    assert backward([("app.market.market_data", "app.signals.policy")]) == [
        "app.market.market_data imports app.signals.policy"
    ]


def test_settings_and_clock_import_nothing_but_errors_keys_addresses_and_the_calendar() -> None:
    allowed = {"app.errors", "app.config.api_keys", "app.market.calendar", "app.redis_address", *BASE}
    assert [f"{a} imports {b}" for a, b in edges() if a in BASE and in_package(b, "app") and b not in allowed] == []


def test_only_factory_and_cli_know_the_web() -> None:
    bad = [
        f"{a} imports {b}" for a, b in edges() if in_package(a, "app") and b.split(".")[0] in WEB and not is_joiner(a)
    ]
    assert bad == []


def test_pure_modules_import_only_numpy_and_each_other() -> None:
    def allowed(a: str, b: str) -> bool:
        root = b.split(".")[0]
        extra = RULES_MAY_ALSO if a == "app.market.nyse" else set()
        return b in PURE_MAY_IMPORT or root in PURE_MAY_IMPORT | extra or is_pure(b)

    assert [f"{a} imports {b}" for a, b in edges() if is_pure(a) and not allowed(a, b)] == []


def test_what_a_signal_is_computed_by_does_not_depend_on_avx_512() -> None:
    """NumPy's own functions of these names, and products of matrices, differ in the last digit (app/model/elementary.py)."""

    def differs(node: ast.AST) -> bool:
        named = isinstance(node, ast.Attribute) and node.attr in DIFFER and ast.unparse(node.value) == "np"
        product = isinstance(node, ast.Attribute) and node.attr == "dot"
        return named or product or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult))

    found = {f"{name}: {ast.unparse(node)}" for name in SERVED for node in ast.walk(modules()[name]) if differs(node)}
    assert found == TRAINING_ONLY


def test_every_pure_module_exists() -> None:
    assert set(modules()) >= PURE


def test_middleware_imports_errors_and_telemetry_and_nothing_else_of_ours() -> None:
    bad = [
        f"{a} imports {b}"
        for a, b in edges()
        if in_package(a, "middleware") and b.split(".")[0] in ("app", "blueprints", "serving")
        if b != "app.errors" and not in_package(b, "app.telemetry")
    ]
    assert bad == []


def test_telemetry_imports_errors_and_only_the_metrics_of_the_core_import_the_core() -> None:
    bad = [
        f"{a} imports {b}"
        for a, b in edges()
        if in_package(a, "app.telemetry") and a != "app.telemetry.core_metrics" and in_package(b, "app")
        if b != "app.errors" and not in_package(b, "app.telemetry")
    ]
    assert bad == []


def test_serving_imports_nothing_else_of_ours() -> None:
    ours = ("app", "blueprints", "middleware")
    assert [f"{a} imports {b}" for a, b in edges() if in_package(a, "serving") and b.split(".")[0] in ours] == []


def test_blueprints_and_versions_keep_apart() -> None:
    apart = (
        ("blueprints", "middleware"),
        ("blueprints.v1", "blueprints.v2"),
        ("blueprints.v2", "blueprints.v1"),
        ("blueprints.shared", "blueprints.v1"),
        ("blueprints.shared", "blueprints.v2"),
        ("blueprints.shared", "blueprints.socket_io"),
        ("blueprints.v1", "blueprints.socket_io"),
        ("blueprints.v2", "blueprints.socket_io"),
        ("blueprints.socket_io", "blueprints.v1"),
    )
    bad = [f"{a} imports {b}" for a, b in edges() for x, y in apart if in_package(a, x) and in_package(b, y)]
    assert bad == []


def test_socket_io_uses_the_shapes_of_version_2_and_none_of_its_routes() -> None:
    shapes = {f"blueprints.v2.{name}" for name in ("line_formats", "live_shape", "live_types", "schemas", "types")}
    bad = [
        f"{a} imports {b}"
        for a, b in edges()
        if in_package(a, "blueprints.socket_io") and in_package(b, "blueprints.v2") and b not in shapes
    ]
    assert bad == []


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (("os.environ", "getenv"), {"app.config.settings", "app.cli", "app.notify.process"}),
        (
            ("datetime.now", "utcnow", "date.today", "time.time", "time.monotonic"),
            {"app.clock", "app.commands", "app.notify.attempt"},
        ),
    ],
)
def test_ambient_things_are_read_in_one_place(words: tuple[str, ...], allowed: set[str]) -> None:
    """serving/ reads the monotonic time where gunicorn and gevent do, and no other. app.notify.attempt is a program of its
    own, which imports nothing of the project, and app.notify.process hands on a part of the environment."""
    found = [
        f"{name}: {word}"
        for name in modules()
        for word in words
        if not any(in_package(name, package) for package in allowed) and word in _source(name)
        if not (in_package(name, "serving") and word == "time.monotonic")
    ]
    assert found == []


def _source(name: str) -> str:
    path = ROOT / name.replace(".", "/")
    return (path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py").read_text()


def length(node: ast.FunctionDef | ast.ClassDef) -> int:
    """Lines of a function or class without its docstring."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    return lines - (first.end_lineno or 0) + first.lineno - 1 if ast.get_docstring(node) else lines


def nodes(kind: type[N]) -> Iterator[tuple[str, N]]:
    """Every node of one kind, with the name of its module."""
    yield from ((name, node) for name, tree in modules().items() for node in ast.walk(tree) if isinstance(node, kind))


def test_functions_stay_small() -> None:
    sizes = sorted(length(node) for _, node in nodes(ast.FunctionDef))
    assert sizes[len(sizes) // 2] < 6
    assert sizes[int(len(sizes) * 0.9)] < 16
    assert sizes[-1] <= 60


def test_files_stay_small() -> None:
    """The list holds the exceptions that are left, and only shrinks."""
    long = {name for name in modules() if len(_source(name).splitlines()) > MAX_FILE_LINES}
    assert long <= LONG_FILES.keys()


def test_classes_stay_small() -> None:
    large = {
        f"{name}.{node.name}"
        for name, node in nodes(ast.ClassDef)
        if length(node) > MAX_CLASS_LINES
        or sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body) > MAX_METHODS
    }
    assert large <= LARGE_CLASSES.keys()


def test_every_cache_of_a_function_has_a_bound() -> None:
    """`lru_cache(maxsize=...)` with a number that fits into memory; `cache` has none."""
    unbounded = [
        f"{name}:{node.lineno}"
        for name, node in nodes(ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "lru_cache" and not 0 < cache_size(node) <= MAX_CACHED
    ]
    bare = [f"{a} imports functools.cache" for a, tree in modules().items() if "cache" in names_from_functools(tree)]
    assert unbounded + bare == []


def cache_size(call: ast.Call) -> int:
    """The bound of a cache; 0 if it has none, or none that is a number."""
    sizes = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "maxsize")]
    value = sizes[0].value if sizes and isinstance(sizes[0], ast.Constant) else None
    return value if isinstance(value, int) else 0


def names_from_functools(tree: ast.Module) -> set[str]:
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "functools"
        for alias in node.names
    }
