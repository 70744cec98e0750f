"""The facts at the end of every page: when, with what versions and on which data it was made; no path and no id."""

from collections.abc import Mapping
from typing import Any


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
