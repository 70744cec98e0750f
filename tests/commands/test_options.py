"""What every command has: help for all its options, --config, exit statuses, completion by the shell."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml

from latentsr.cli import app
from latentsr.io.raster import write_pixels

Run = Callable[..., Any]


def _commands(group: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    for key, command in (group or typer.main.get_command(app)).commands.items():
        path = f"{name} {key}".strip()
        if hasattr(command, "commands"):
            yield from _commands(command, path)
        else:
            yield path, command


COMMANDS = dict(_commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_the_help(run: Run, name: str) -> None:
    said = run(*name.split(), "--help")
    assert [one.name for one in COMMANDS[name].params if not one.help or one.hidden] == []
    assert [
        one.name for one in COMMANDS[name].params if one.opts[-1].startswith("--") and one.opts[-1] not in said.out
    ] == []
    assert "--config" in said.out


@pytest.mark.parametrize("command", [[], ["enhance"], ["evaluate"], ["train"]])
def test_the_help_tells_the_exit_statuses(run: Run, command: list[str]) -> None:
    said = " ".join(run(*command, "--help").out.split())
    assert "Exit status: 0 all done" in said
    assert "1 some inputs failed, the others are done; 2 nothing could be done, or wrong usage." in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_reads_its_options_from_a_file(run: Run, tmp_path: Path, name: str) -> None:
    """A key that none has is an error, on one line, which lists those that the command has."""
    (tmp_path / "o.yaml").write_text("stepz: 3\n")
    given = [str(tmp_path) for one in COMMANDS[name].params if one.param_type_name == "argument" and one.required]
    needed = [f"{one.opts[-1]}=x" for one in COMMANDS[name].params if one.param_type_name == "option" and one.required]
    said = run(*name.split(), *given, *needed, "--config", tmp_path / "o.yaml")
    assert (said.status, said.out, said.err.count("\n")) == (2, "", 1)
    assert "unknown key 'stepz'; expected the keys" in said.err


class TestFile:
    def test_a_file_is_read_and_flags_go_before_it(self, run: Run, model_folder: Path, tmp_path: Path) -> None:
        (tmp_path / "o.yaml").write_text(
            f"model: {model_folder}\nout: {tmp_path / 'out'}\nsteps: 2\ndry-run: yes\njson: on\n"
        )
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.png").write_bytes(b"")
        said = run("enhance", tmp_path / "in", "--config", tmp_path / "o.yaml")
        assert '"status": "failed"' in said.out
        said = run("enhance", tmp_path / "in", "--config", tmp_path / "o.yaml", "--steps", "0")
        assert "steps is 0" in said.err

    def test_lists_are_options_that_are_given_several_times(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "o.yaml").write_text("vae: [haar, haar]\n")
        said = run("screen", tmp_path, "-o", tmp_path / "out", "--config", tmp_path / "o.yaml")
        assert "haar was given twice" in said.err
        (tmp_path / "o.yaml").write_text("vae: '='\n")
        said = run("screen", tmp_path, "-o", tmp_path / "out", "--config", tmp_path / "o.yaml")
        assert "'=': expected NAME, FOLDER or LABEL=FOLDER" in said.err

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "holds no options; expected 'key: value' lines"),
            ("- a\n", "holds no options"),
            ("steps: {a: 1}\n", "o.yaml: steps is {'a': 1}; expected a text, a number or a list"),
            ("steps: []\n", "o.yaml: steps is []; expected a text, a number or a list"),
            ("steps: [1, 2]\n", "o.yaml: steps is [1, 2]; expected a valid integer"),
            ("steps: 1.5\n", "o.yaml: steps is 1.5; expected a valid integer"),
            ("max-pixels: 0\n", "o.yaml: max-pixels is 0; expected greater than or equal to 1"),
            ("stepz: 3\n", "did you mean steps?"),
            ("config: other.yaml\n", "unknown key 'config'"),
            ("inputs: scans/\n", "unknown key 'inputs'"),
            ("a: [1\n", "is not valid YAML"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_an_error(self, run: Run, tmp_path: Path, text: str, words: str) -> None:
        (tmp_path / "o.yaml").write_text(text)
        said = run("enhance", tmp_path, "-o", tmp_path / "out", "--config", tmp_path / "o.yaml")
        assert said.status == 2
        assert words in " ".join(said.err.split())

    @pytest.mark.parametrize("split", ["0.5,0.5,0", "[0.5, 0.5, 0]"])
    def test_numbers_joined_by_commas_may_be_a_list(self, run: Run, tmp_path: Path, split: str) -> None:
        for number in range(4):
            write_pixels(tmp_path / "in" / f"{number}.png", np.eye(8 + number, dtype=np.uint8))
        (tmp_path / "o.yaml").write_text(f"split: {split}\nname: set\nsize: null\njson: yes\n")
        said = run("prepare", "folder", tmp_path / "in", "-o", tmp_path / "out", "--config", tmp_path / "o.yaml")
        assert json.loads(said.out)["splits"] == {s: {"images": 2, "patients": 2} for s in ("train", "valid")}

    def test_a_missing_file_is_an_error(self, run: Run, tmp_path: Path) -> None:
        said = run("enhance", tmp_path, "-o", tmp_path / "out", "--config", tmp_path / "none.yaml")
        assert (said.status, said.err.count("\n")) == (2, 1)
        assert "none.yaml: cannot be read" in said.err


class TestFileOfATraining:
    """Its keys are the command's options and the fields of the record that the job keeps, of which it has more."""

    SMALL = "layers: 1\nattention: [false]\nmiddle_attention: false\ngroups: 4\nbatch: 2\ncalibrate: no\n"

    @pytest.fixture
    def cache(self, tmp_path: Path, run: Run) -> Path:
        for number in range(6):
            pixels = np.random.default_rng(number).integers(0, 255, (32, 32), np.uint8)
            write_pixels(tmp_path / "in" / f"{number}.png", pixels)
        assert run("prepare", "folder", tmp_path / "in", "-o", tmp_path / "data").status == 0
        assert run("encode", tmp_path / "data", "--condition", "latent-native", "-o", tmp_path / "cache").status == 0
        return tmp_path / "cache"

    def test_preset_lists_and_what_no_record_has(self, run: Run, cache: Path, tmp_path: Path) -> None:
        (tmp_path / "o.yaml").write_text(
            f"{self.SMALL}preset: published\nchannels: 4,8\nattention: [no, no]\nsteps: 1\nlearning-rate: 2e-3\n"
            f"band_weights: 4,2,1\nmodality: [MR, CT]\ndevice: cpu\nout: {tmp_path / 'model'}\n"
        )
        said = run("train", cache, "--learning-rate", "1e-3", "--config", tmp_path / "o.yaml")
        assert said.status == 0, said.err
        kept = yaml.safe_load((tmp_path / "model.run" / "train.yaml").read_text())
        assert (kept["channels"], kept["band_weights"]) == ([4, 8], [4.0, 2.0, 1.0])
        assert (kept["published"], kept["loss"], kept["steps"]) == (True, "l1", 1)  # of the preset; the file is first
        assert kept["learning_rate"] == 1e-3  # the flag is before both
        again = run("train", cache, "-o", tmp_path / "again", "--config", tmp_path / "model.run" / "train.yaml")
        assert again.status == 0, again.err

    @pytest.mark.parametrize(
        ("text", "flags", "words"),
        [
            ("channels: 4,x\n", (), "o.yaml: channels.1 is 'x'; expected a valid integer"),
            ("learning-rate: 0\n", (), "o.yaml: learning_rate is 0; expected greater than 0"),
            ("channels: 4,8\n", ("--learning-rate", 0), "--learning-rate is 0.0; expected greater than 0"),
            ("device: [a, b]\nlayers: two\n", (), "o.yaml: layers is 'two'; expected a valid integer"),
            ("preset: other\n", (), "preset other: expected published"),
            ("devices: many\n", (), "o.yaml: devices is 'many'; expected a valid integer"),
        ],
    )
    def test_messages_name_the_key_or_the_flag(
        self, run: Run, tmp_path: Path, text: str, flags: tuple[object, ...], words: str
    ) -> None:
        (tmp_path / "o.yaml").write_text(text)
        said = run("train", tmp_path, "-o", tmp_path / "model", *flags, "--config", tmp_path / "o.yaml")
        assert (said.status, said.err.count("\n")) == (2, 1)
        assert words in said.err
        assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes(shell: str) -> None:
    code = "from latentsr.cli import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code, "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_LATENTSR_COMPLETE" in shown.stdout


def test_completion_knows_the_commands_and_needs_no_torch() -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        "from latentsr.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "_LATENTSR_COMPLETE": "complete_bash", "COMP_WORDS": "latentsr en", "COMP_CWORD": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["enhance", "encode", "False"]
