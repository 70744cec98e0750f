"""Values and facts in words, the same on every page."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

NONE = "–"


def decimals(value: float, unit: str = "") -> int:
    """How many decimals a value is shown with: two for dB and from ten on, else three, or three digits if small."""
    if abs(value) >= 1000:
        return 0
    if unit == "dB" or abs(value) >= 10:
        return 2
    return 3 if abs(value) >= 0.01 or value == 0 else min(2 - math.floor(math.log10(abs(value))), 9)


def number(
    value: float | None, unit: str = "", *, signed: bool = False, unit_shown: bool = False, digits: int | None = None
) -> str:
    """A value in words, with as many decimals as `decimals` says or is given; no zero has a sign; a dash for none."""
    if value is None or not np.isfinite(value):
        return NONE
    digits = decimals(value, unit) if digits is None else digits
    text = f"{value:{'+' * signed}.{digits}f}"
    if not text.strip("+-0."):  # a zero, rounded or not, has no sign
        text = text.lstrip("+-")
    return f"{text} {unit}" if unit_shown and unit else text


def interval(
    low: float | None, high: float | None, unit: str = "", *, signed: bool = False, digits: int | None = None
) -> str:
    """Such as "[0.10, 0.32]", both ends with as many decimals, as given or for the larger; nothing without an end."""
    if low is None or high is None or not (np.isfinite(low) and np.isfinite(high)):
        return ""
    digits = decimals(max(abs(low), abs(high)), unit) if digits is None else digits
    ends = (number(end, unit, signed=signed, digits=digits) for end in (low, high))
    return f"[{', '.join(ends)}]"


def estimate(
    value: float, low: float, high: float, unit: str = "", *, signed: bool = False, unit_shown: bool = False
) -> str:
    """Such as "0.21 [0.10, 0.32]", all with as many decimals as the largest; the value alone without an interval."""
    known = [abs(one) for one in (value, low, high) if np.isfinite(one)]
    digits = decimals(max(known, default=0.0), unit)
    shown = number(value, unit, signed=signed, unit_shown=unit_shown, digits=digits)
    return f"{shown} {interval(low, high, unit, signed=signed, digits=digits)}".rstrip()


def p_value(value: float | None, *, sign: bool = False) -> str:
    """Such as "0.012" or "< 0.001", with `sign` "= 0.012"; a dash for no test."""
    if value is None or not np.isfinite(value):
        return NONE
    return "< 0.001" if value < 0.001 else f"{'= ' * sign}{value:.3f}"


def counted(count: int, noun: str) -> str:
    """Such as "1 image" and "12 images"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def run_facts(run: Mapping[str, Any]) -> dict[str, str]:
    """Date, versions, split and how many images, of a job's record as `config.manifest` and the job wrote it."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items() if version)
    return {
        "date": run["date"],
        "versions": f"{versions}, python {run['python']}, {run['platform']}",
        "split": run["split"],
        "images a dataset": "all" if run["limit"] is None else f"at most {run['limit']}, evenly spread over the ids",
    }


def data_facts(run: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each dataset's records."""
    return {f"dataset {name}": f"SHA-256 of its records {digest}" for name, digest in run["data"].items()}
