import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from latentsr import terminal


def test_an_error_and_a_warning_are_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_error("one\n  two\r\nthree")
    terminal.show_warning("four\nfive")
    assert capsys.readouterr() == ("", "error: one two three\nwarning: four five\n")


def test_json_has_null_for_nan_and_text_for_paths(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"a": float("nan"), "b": [1, (2.5, float("nan"))], 3: {"c": None}, "path": Path("x/y")}
    terminal.show_json(content)
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"a": None, "b": [1, [2.5, None]], "3": {"c": None}, "path": "x/y"}


def test_json_has_null_for_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_json({"psnr": float("inf"), "minus": [float("-inf")]})
    assert json.loads(capsys.readouterr().out) == {"psnr": None, "minus": [None]}


def test_stages_are_told_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.show_stage("statistics")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    terminal.show_stage("statistics")
    assert capsys.readouterr() == ("", "statistics ...\n")


def test_quick_work_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("work") as report:
        report(0.5, 3)
        report(3, 3)
    assert capsys.readouterr() == ("", "")


def test_a_pipe_gets_a_line_now_and_then_with_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0, 0, 9, 10, 39, 40, 3000, 3001])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(now)))
    with terminal.progress("train", unit="steps") as report:
        for step, note in (
            (100, ""),
            (109, ""),
            (110, "loss 0.5"),
            (139, ""),
            (140, ""),
            (3100, ""),
            (4000, "loss 0.1"),
        ):
            report(step, 4000, note)
    assert capsys.readouterr().err.splitlines() == [
        "train  110/4000 steps  loss 0.5  65 min left",
        "train  140/4000 steps  64 min left",
        "train  3100/4000 steps  15 min left",
        "train  4000/4000 steps  loss 0.1",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(44.6, "45 s"), (89, "89 s"), (720, "12 min"), (12600, "3.5 h")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


def test_work_that_fails_leaves_its_last_line_and_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "FIRST", 0.0)
    with pytest.raises(OSError, match="full"), terminal.progress("encode") as report:
        report(1, 3)
        report(2, 3)
        raise OSError("full")
    assert capsys.readouterr().err == "encode  1/3 images\n"


def test_a_terminal_gets_a_bar_with_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with terminal.progress("work") as report:
        report(1.5, 3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "work" in err
    assert "1/3" in err


def row(**changes: object) -> dict[str, object]:
    nan = float("nan")
    given = {
        "dataset": "knee",
        "images": 3,
        "patients": 2,
        "metric": "psnr",
        "method": "bicubic",
        "mean": 31.234,
        "sd": 0.12345,
        "n": 3,
        "infinite": 0,
        "difference": nan,
        "low": nan,
        "high": nan,
        "ratio_to_hr": nan,
    }
    return given | changes


def test_a_summary_has_a_table_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        row(),
        row(method="mine", mean=32.5, infinite=1, n=2, difference=1.25, low=-0.5, high=2.0),
        row(dataset="chest", ratio_to_hr=0.5),
    ]
    terminal.show_summary(rows)
    out = capsys.readouterr().out
    assert out.index("knee: images 3, patients 2") < out.index("chest: images 3, patients 2")
    assert "2 (+1 infinite)" in out
    assert "-0.5000 to 2.0000" in out
    assert "nan" not in out
    assert "31.23" in out
    assert "0.1235" in out or "0.1234" in out


def test_records_are_a_table_with_a_column_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass
    class Line:
        image: str
        psnr: float | None

    terminal.show_records("results", [Line("a", 30.123), Line("b", None)])
    out = capsys.readouterr().out
    assert all(word in out for word in ("results", "image", "psnr", "30.12"))
    assert "None" not in out


@pytest.mark.parametrize("resumes", [True, False])
def test_an_interruption_says_whether_the_same_command_goes_on(
    resumes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt), terminal.progress("work", resumes=resumes):
        raise KeyboardInterrupt
    assert ("the same command goes on" in capsys.readouterr().err) == resumes


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_sigterm_puts_all_away_as_an_interruption_does(capsys: pytest.CaptureFixture[str]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    assert handler is signal.SIG_DFL
    put_away = []
    with pytest.raises(SystemExit) as ended, terminal.progress("work", resumes=True):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            put_away.append(True)
    assert ended.value.code == 143
    assert put_away == [True]
    assert "the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is handler
