"""One concept a file, one thought a function: limits beyond which a reader loses the thread, and forbidden names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = [path for folder in ("src", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]

FILE_LINES = 600
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 15
NAMES_OF_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "misc", "tools"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(path: Path) -> list[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PYTHON, ids=_name)
def test_file_is_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{lines} lines: split it by concept"


@pytest.mark.parametrize("path", PYTHON, ids=_name)
def test_functions_are_short(path: Path) -> None:
    long = [
        f"{function.name} ({_length(function)})" for function in _functions(path) if _length(function) > FUNCTION_LINES
    ]
    assert not long, f"longer than {FUNCTION_LINES} lines: {', '.join(long)}"


def test_the_median_function_is_about_ten_lines() -> None:
    lengths = sorted(_length(function) for path in SOURCES for function in _functions(path))
    assert lengths[len(lengths) // 2] <= MEDIAN_FUNCTION_LINES


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_file_is_named_by_what_it_holds(path: Path) -> None:
    assert not NAMES_OF_NOTHING & set(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_file_and_public_functions_say_what_they_are_for(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the file has no docstring"
    public = [node for node in tree.body if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")]
    silent = [node.name for node in public if not ast.get_docstring(node)]
    assert not silent, f"no docstring: {', '.join(silent)}"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_is_left_for_later(path: Path) -> None:
    marks = re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", path.read_text(encoding="utf-8"))
    assert not marks
