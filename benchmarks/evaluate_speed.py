"""Times a whole `latentsr evaluate`, from prepared images to the report, and says which share of it went where.

    python benchmarks/evaluate_speed.py                          # 1,000 pairs of 256x256
    python benchmarks/evaluate_speed.py --pairs 100 --keep OUT   # the evaluation stays in OUT
    python benchmarks/evaluate_speed.py --pairs 200 --against TREE              # beside another version
    python benchmarks/evaluate_speed.py --data BRAIN CHEST --against TREE --rounds 2

The images are those of `measure_speed.py`, windows of scikit-image's test photographs, five a patient. Compared with
bicubic, which is always measured, is a folder of 16-bit PNG files: bicubic's own results, so that nothing but reading
is timed of the method. There is a mask of a disc an image, latents are Haar's, and the reference autoencoder, which
gives hallucination its threshold, is a small KL autoencoder of random weights: it costs what a trained one costs, and
its threshold means nothing. So all measures without learned weights are made, of twice as many images as there are
pairs, and the statistics of all of them. With `--data`, prepared datasets take their place, and bicubic+projection that
of the folder, without masks, latents and a threshold.

The command runs in its own process. Prints one JSON line: seconds that passed, seconds of processor, peak resident
memory in GB, and the processor's seconds of each step. Other work on the machine slows the clock; the processor's
seconds hardly. The exit status is 1 if the peak is not below LIMIT GB (10^9 bytes).

With `--against`, the version whose files lie in TREE (`git worktree add TREE COMMIT`) and this one take turns, so that
other work on the machine slows both. Prints what each run took, the ratio of the processor's seconds of this version to
the other's, and which tables differ, times (cost.csv) aside. The exit status is 1 if the ratio is above RATIO or a
table differs in any digit.
"""

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure_speed import SIDE, pairs_from

from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.config import sha256
from latentsr.data.records import Record, write_dataset
from latentsr.io.raster import write_pixels

LIMIT = 2.0
RATIO = 0.6  # to the version before measures shared what they make
IMAGES_A_PATIENT = 5
# The step that a function is, wherever it is called from; what is under none of them is measuring, or starting.
STEPS = {
    ("latentsr.bench.evaluation", "plan_evaluation"): "plan",
    ("latentsr.bench.measure", "read_hr_lr"): "restore",
    ("latentsr.bench.measure", "restored"): "restore",
    ("latentsr.bench.measure", "roundtrip"): "autoencoders",
    ("latentsr.bench.measure", "encode"): "autoencoders",
    ("latentsr.bench.evaluation", "keep"): "parts",
    ("latentsr.bench.evaluation", "_run"): "run",
    ("latentsr.bench.evaluation", "_conclude"): "conclude",
    ("latentsr.bench.tables", "summarise"): "statistics",
    ("latentsr.bench.tables", "compare_methods"): "statistics",
    ("latentsr.bench.tables", "compare_agreement"): "statistics",
    ("latentsr.bench.tables", "_sets"): "sets",
    ("latentsr.bench.evaluation", "draw_pictures"): "pictures",
    ("latentsr.report.evaluation", "write_report"): "report",
}


def main() -> int:
    """The exit status, after the figures have been printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--data", nargs="+", type=Path, help="prepared datasets; default: photographs")
    parser.add_argument("--keep", type=Path, help="folder for images and evaluation; default: a temporary one")
    parser.add_argument("--against", type=Path, metavar="TREE", help="a checkout of another version, to compare with")
    parser.add_argument("--rounds", type=int, default=1, help="with --against: how often both run")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return _evaluate(options.child)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        given: list[object] = ["--device", "cpu", "--batch", options.batch, "--overwrite", "--json"]
        if options.data:
            given += [*options.data, "--method", "bicubic+projection"]
        else:
            given += [folder / "data", *_prepare(folder, options.pairs)]
        if options.against:
            return _against(options.against, given, folder, options.rounds)
        command = [sys.executable, __file__, "--child", "evaluate", *map(str, given), "-o", str(folder / "out")]
        figures, told = _measured(command, os.environ)
    print(json.dumps({"pairs": options.pairs, "cores": os.cpu_count(), **figures, **json.loads(told.splitlines()[-1])}))
    return int(figures["gb"] >= LIMIT)


def _against(tree: Path, given: Sequence[object], folder: Path, rounds: int) -> int:
    """The exit status of a comparison with the version in `tree`."""
    trees = {"other": tree.resolve(), "this": Path(__file__).resolve().parent.parent}
    seconds = dict.fromkeys(trees, 0.0)
    for number in range(1, rounds + 1):
        for name, root in trees.items():
            start = [sys.executable, "-c", "from latentsr.cli import main; main()", "evaluate"]
            environment = {**os.environ, "PYTHONPATH": str(root / "src")}
            figures, _ = _measured([*start, *map(str, given), "-o", str(folder / name)], environment)
            seconds[name] += figures["processor_s"]
            print(json.dumps({"round": number, "version": name, **figures}), flush=True)
    mine, theirs = (
        {path.name: path.read_bytes() for path in (folder / name).glob("*.csv") if path.name != "cost.csv"}
        for name in ("this", "other")
    )
    differ = sorted(table for table in mine | theirs if mine.get(table) != theirs.get(table))
    ratio = round(seconds["this"] / seconds["other"], 3)
    print(json.dumps({"ratio": ratio, "tables": len(mine), "differ": differ}))
    return int(ratio > RATIO or bool(differ))


def _prepare(folder: Path, pairs: int) -> list[object]:
    """The options of evaluate that name what was written: SR images, masks and the reference autoencoder."""
    records = []
    offsets = np.arange(SIDE) - SIDE / 2
    disc = np.hypot(offsets[:, None], offsets[None, :]) < SIDE / 4
    for number in range(pairs):
        sr, hr = (image[0, 0].numpy() for image in pairs_from(number, 1))
        name, file = f"{number:05d}", f"images/{number:05d}.png"
        write_pixels(folder / "data" / file, np.round(hr * 255).astype(np.uint8))
        write_pixels(folder / "sr" / f"{name}.png", np.round(sr * 65535).astype(np.uint16))
        write_pixels(folder / "masks" / f"{name}.png", 255 * disc.astype(np.uint8))
        digest = sha256(folder / "data" / file)
        records.append(Record(name, f"p{number // IMAGES_A_PATIENT:05d}", "valid", file, SIDE, SIDE, digest))
    write_dataset(folder / "data", "photographs", records, {})
    save_network(SmallKL(factor=4, latent_channels=3, image_channels=1, width=16, blocks=1), folder / "kl")
    return [
        "--method", f"theirs={folder / 'sr'}", "--masks", folder / "masks", "--latent", "haar",
        "--reference-autoencoder", folder / "kl",
    ]  # fmt: skip


def _measured(command: Sequence[str], environment: Mapping[str, str]) -> tuple[dict[str, float], str]:
    """What the command took, in a process of its own, and what it told on standard error."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    told = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"evaluate failed with status {os.waitstatus_to_exitcode(status)}: {told}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    figures = {
        "s": round(time.perf_counter() - begin, 1),
        "processor_s": round(usage.ru_utime + usage.ru_stime, 1),
        "gb": round(usage.ru_maxrss * unit / 1e9, 2),
    }
    return figures, told


def _evaluate(arguments: list[str]) -> int:
    """Runs the command with its steps timed, and prints their processor seconds to standard error."""
    spent: dict[str, float] = {}
    for (module, name), step in STEPS.items():
        place = importlib.import_module(module)
        setattr(place, name, _timed(getattr(place, name), step, spent))
    from latentsr.cli import main as command

    sys.argv = ["latentsr", *arguments]
    try:
        command()
    except SystemExit as ended:
        if ended.code:
            return int(ended.code)
    print(json.dumps(_shares(spent)), file=sys.stderr)
    return 0


def _timed(function: Callable[..., Any], step: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The function, adding the processor seconds that pass in all threads, or its own while others measure."""
    clock = time.thread_time if step in ("restore", "autoencoders", "parts") else time.process_time

    def timed(*given: Any, **options: Any) -> Any:
        begin = clock()
        try:
            return function(*given, **options)
        finally:
            spent[step] = spent.get(step, 0) + clock() - begin

    return timed


def _shares(spent: dict[str, float]) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    run, conclude = spent.pop("run"), spent.pop("conclude")
    beside = sum(spent[name] for name in ("restore", "autoencoders", "parts"))
    told = ("statistics", "sets", "pictures")
    steps = {
        "start": usage.ru_utime + usage.ru_stime - run - spent["plan"] - spent["report"],
        **spent,
        "measure": run - conclude - beside,
        "conclude otherwise": conclude - sum(spent[name] for name in told),
    }
    return {"steps": {name: round(seconds, 1) for name, seconds in steps.items()}}


if __name__ == "__main__":
    sys.exit(main())
