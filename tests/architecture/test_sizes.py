"""One concept a file, one thought a function: limits beyond which a reader loses the thread, and forbidden names."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = [path for folder in ("src", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]

FILE_LINES = 600
FUNCTION_LINES = 60
FILES, LINES, ONE_CALLER = 150, 34_736, 0.1  # lines are exact: what grows says so
NAMES_OF_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "misc", "tools"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(_tree(path)) if isinstance(node, Function)]


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_files_and_functions_are_short() -> None:
    long = []
    for path in PYTHON:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        long += [f"{_named(path)} has {lines} lines: split it by concept"] if lines > FILE_LINES else []
        long += [
            f"{_named(path)}: {function.name} has {_length(function)} lines"
            for function in _functions(path)
            if _length(function) > FUNCTION_LINES
        ]
    assert not long, "\n".join(long)


def test_files_are_named_by_what_they_hold() -> None:
    assert not [
        _named(path) for path in SOURCES if NAMES_OF_NOTHING & set(path.relative_to(ROOT).with_suffix("").parts)
    ]


def test_files_and_public_functions_say_what_they_are_for() -> None:
    silent = []
    for path in SOURCES:
        tree = _tree(path)
        public = [node for node in tree.body if isinstance(node, Function | ast.ClassDef)]
        without = [node.name for node in public if not node.name.startswith("_") and not ast.get_docstring(node)]
        silent += [f"{_named(path)}: {', '.join(without)}"] if without else []
        silent += [] if ast.get_docstring(tree) else [f"{_named(path)}: the file"]
    assert not silent, "no docstring: " + "; ".join(silent)


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
    assert not [_named(path) for path in SOURCES if marks.search(path.read_text(encoding="utf-8"))]


def test_the_house_has_few_files_and_few_private_functions_with_one_caller() -> None:
    """A private function that is used once belongs inside its caller, unless it has an idea of its own."""
    functions, once = 0, []
    for path in SOURCES:
        used = Counter(
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.Attribute) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
        )
        names = [function.name for function in _functions(path)]
        functions += len(names)
        once += [name for name in names if name.startswith("_") and not name.startswith("__") and used[name] <= 1]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES)
    share = len(once) / functions
    found = f"{len(SOURCES)} files, {lines} lines, {functions} functions, {share:.1%} private with one caller"
    assert len(SOURCES) <= FILES, found
    assert lines <= LINES, found
    assert share <= ONE_CALLER, found
