"""What a stranger relies on: the public names, one version, the research-use text, a lock without anybody's machine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import latentsr

RESEARCH_USE = "Research use only"


@pytest.mark.parametrize("name", latentsr.__all__)
def test_public_name_loads_and_is_documented(name: str) -> None:
    assert getattr(latentsr, name) is not None
    assert name in dir(latentsr)


def test_public_names_are_few_and_have_homes() -> None:
    assert sorted(latentsr.__all__) == sorted(latentsr._HOMES)
    assert len(latentsr.__all__) <= 20


def test_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Resolver'; public names: .*SuperResolver"):
        latentsr.Resolver  # noqa: B018


def test_importing_the_package_loads_nothing_else() -> None:
    program = "import sys, latentsr; sys.exit(any(name.startswith('latentsr.') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_version_is_the_newest_of_the_changelog(repository: Path) -> None:
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (repository / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert versions[0] == latentsr.__version__


@pytest.mark.parametrize("file", ["README.md", "src/latentsr/__init__.py", "src/latentsr/provenance.py"])
def test_research_use_is_said(repository: Path, file: str) -> None:
    assert RESEARCH_USE.lower() in (repository / file).read_text(encoding="utf-8").lower()


def test_shipped_model_cards_say_research_use(repository: Path) -> None:
    for config in (repository / "src" / "latentsr" / "models").glob("*/config.json"):
        card = (config.parent / "README.md").read_text(encoding="utf-8")
        assert RESEARCH_USE.lower() in card.lower(), config.parent.name


def test_lock_holds_hashes_and_no_address(repository: Path) -> None:
    lock = (repository / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://| @ |--index|--find-links|^\s*/", lock, re.M)
    requirements = re.findall(r"^([a-z0-9-]+)==[^\\]*\\\n((?:\s+--hash=sha256:[0-9a-f]{64}.*\n?)+)", lock, re.M)
    assert len(requirements) == len(re.findall(r"^[a-z]", lock, re.M)) > 50


def test_lock_covers_what_is_declared(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=!~;\[ ]", text)[0].lower().replace("_", "-") for text in declared}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (repository / "requirements.lock").read_text(encoding="utf-8"), re.M))
    assert names <= locked, f"run `make lock`: {sorted(names - locked)}"


def test_no_image_of_the_shared_data_is_tracked(repository: Path) -> None:
    if not (repository / ".git").exists():
        return
    listed = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=True).stdout
    images = [
        name for name in listed.splitlines() if name.endswith((".jpg", ".jpeg", ".dcm", ".nii", ".nii.gz", ".tif"))
    ]
    assert not images


def test_the_library_speaks_of_no_flag_of_the_command_line(repository: Path) -> None:
    """Its messages name options in words, for Python too; only a whole command that mends a fault may be quoted."""
    sources = repository / "src" / "latentsr"
    for path in sources.rglob("*.py"):
        if path.relative_to(sources).parts[0] in ("cli.py", "commands"):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            flags = re.findall(r"(?<![\w-])(?:--[a-z][a-z-]+|-o)\b", line)
            assert not flags or re.search("latentsr (models|--help)", line), f"{path.name}: {line}"
