import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from latentsr import __version__
from latentsr.config import (
    Config,
    canonical_json,
    checked,
    layered,
    manifest,
    read_json,
    read_signed_json,
    read_yaml,
    sha256,
    sha256_json,
    signed,
    write_json,
    write_yaml,
)
from latentsr.errors import InputError, OptionError


class Optimiser(Config):
    rate: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)


class Job(Config):
    steps: int
    folder: Path = Path("data")
    optimiser: Optimiser = Optimiser()


def loaded(path: Path) -> Job:
    return checked(Job, read_yaml(path), str(path))


def test_yaml_round_trip_resolves_defaults(tmp_path: Path) -> None:
    job = Job(steps=3, optimiser=Optimiser(rate=1e-7))
    write_yaml(job, tmp_path / "job.yaml")
    assert loaded(tmp_path / "job.yaml") == job
    text = (tmp_path / "job.yaml").read_text(encoding="utf-8")
    assert text.index("steps: 3") < text.index("folder: data") < text.index("betas:")


def test_yaml_floats_may_be_written_without_a_point(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("steps: 1\noptimiser: {rate: 2e-4}\n")
    assert loaded(tmp_path / "job.yaml").optimiser.rate == 2e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "stepz: 3",
            "unknown key 'stepz'; expected the keys steps, folder, optimiser; did you mean steps? (",
        ),
        ("folder: a", "key 'steps' is missing; expected the keys steps, folder, optimiser"),
        ("steps: many", "steps is 'many'; expected a valid integer"),
        ("steps: 1\noptimiser: {rate: -1}", "optimiser.rate is -1; expected greater than 0"),
        ("steps: 1\noptimiser: {rate: .nan}", "optimiser.rate is nan; expected"),
        ("steps: 1\noptimiser: {momentum: 1}", "unknown key 'optimiser.momentum'; expected the keys rate, betas"),
        ("steps: [", "is not valid YAML"),
        ("- steps", "holds no options; expected 'key: value' lines"),
        ("1: 2", "holds no options"),
        ("", "holds no options"),
        ("steps: &a [*a]", "it has an alias (*name); write the value out instead"),
        ("a: &a [1]\nsteps: [*a, *a]", "it has an alias"),
        ("steps: " + 9999 * "[", "is not valid YAML: nested too deeply"),
        ("steps: " + 5000 * "1", "is not valid YAML: Exceeds the limit"),
        ("steps: 2020-13-45", "is not valid YAML"),
    ],
)
def test_bad_yaml_is_one_line_with_the_key_and_what_is_valid(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(OptionError) as caught:
        loaded(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_or_binary_yaml_is_an_option_error(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.yaml", "binary.yaml", "."):
        with pytest.raises(OptionError, match="cannot be read"):
            read_yaml(tmp_path / name)


def test_options_from_elsewhere_name_their_origin() -> None:
    assert checked(Job, {"steps": 2}, "train").steps == 2
    with pytest.raises(OptionError, match=r"^train: steps is None; expected a valid integer"):
        checked(Job, {"steps": None}, "train")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"epochs": 5, "decay": "epoch", "batch": 8}),
        ({"batch": 2}, {"epochs": 5, "decay": "epoch", "batch": 2}),
        ({"steps": 3}, {"steps": 3, "batch": 8}),
        ({"steps": 3, "decay": "epoch"}, {"steps": 3, "decay": "epoch", "batch": 8}),
        ({"epochs": 2}, {"epochs": 2, "decay": "epoch", "batch": 8}),
        ({"steps": 3, "epochs": 2}, {"steps": 3, "epochs": 2, "decay": "epoch", "batch": 8}),
        ({"steps": None}, {"steps": None, "epochs": 5, "decay": "epoch", "batch": 8}),
    ],
)
def test_the_first_layer_with_steps_or_epochs_says_how_long(
    given: dict[str, object], wanted: dict[str, object]
) -> None:
    assert layered(given, {"epochs": 5, "decay": "epoch", "batch": 8}) == wanted
    assert layered(given, {}, {"epochs": 5, "decay": "epoch", "batch": 8}) == wanted


def test_record_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Job(steps=1).steps = 2  # type: ignore[misc]


def test_json_round_trip_and_bad_json(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"job": Job(steps=1), "name": "Ünï"})
    assert read_json(tmp_path / "run.json")["job"]["steps"] == 1
    assert "Ünï" in (tmp_path / "run.json").read_text(encoding="utf-8")
    (tmp_path / "bad.json").write_text("{")
    for name in ("bad.json", "missing.json"):
        with pytest.raises(InputError, match="cannot be read as JSON"):
            read_json(tmp_path / name)


@pytest.mark.parametrize("text", [99_999 * "[", 99_999 * '{"a":', 5000 * "1"], ids=["lists", "keys", "digits"])
def test_json_too_deep_or_with_a_number_too_long_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match="cannot be read as JSON") as caught:
        read_json(tmp_path / "bad.json")
    assert len(str(caught.value)) < 400


def test_signed_json_comes_back_and_any_altered_byte_is_noticed(tmp_path: Path) -> None:
    path, content = tmp_path / "model.json", {"name": "Ünï", "rate": 0.1, "sizes": [1, 2], "none": None}
    write_json(path, signed(content))
    assert read_signed_json(path) == content
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"altered|digest of its content|cannot be read as JSON"):
            read_signed_json(path)
    for text in ("[]", "{}", '{"digest": 1}', '{"a": NaN, "digest": null}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"altered|digest of its content"):
            read_signed_json(path)


@pytest.mark.parametrize(("content", "error"), [({"a": float("nan")}, ValueError), ({"a": Path("x")}, TypeError)])
def test_what_has_no_json_form_is_refused_and_nothing_is_written(
    tmp_path: Path, content: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        write_json(tmp_path / "run.json", content)
    assert not list(tmp_path.iterdir())


def test_sha256_is_that_of_hashlib(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)))
def test_hash_is_blind_to_the_order_of_keys(content: dict[str, object]) -> None:
    turned = dict(reversed(content.items()))
    assert sha256_json(content) == sha256_json(turned)
    assert json.loads(canonical_json(content)) == content


def test_hash_tells_contents_apart_and_takes_records() -> None:
    @dataclass
    class Degradation:
        text: str

    assert sha256_json({"steps": 1}) != sha256_json({"steps": 2})
    assert sha256_json(Degradation("bicubic:4")) == sha256_json({"text": "bicubic:4"})
    assert canonical_json((1, 2)) == "[1,2]"


def test_manifest_says_how_but_not_where_nor_who(tmp_path: Path) -> None:
    run = manifest(seed=3)
    assert run["seed"] == 3
    assert run["versions"]["latentsr"] == __version__
    assert run["versions"]["torch"]
    assert str(run["date"]).endswith("+00:00")
    assert str(Path.home()) not in json.dumps(run)
    with pytest.raises(ValueError, match="may not be named python"):
        manifest(python="3")
