"""The command line: the table of sub-commands, and the exit status and message of an error.

Heavy modules are imported inside the commands' functions, so that `latentsr --help` answers at once.
"""

import os
import sys
from typing import Annotated

import typer

from latentsr import __version__, terminal
from latentsr.commands.calibrate import calibrate
from latentsr.commands.demo import demo
from latentsr.commands.enhance import enhance
from latentsr.commands.evaluate import evaluate
from latentsr.commands.models import models_app
from latentsr.commands.prepare import prepare_app
from latentsr.commands.screen import screen
from latentsr.commands.study import study
from latentsr.commands.train import encode, fit_vae, train
from latentsr.errors import LatentSRError
from latentsr.provenance import RESEARCH_USE

COMMANDS = (
    (enhance, "latentsr enhance scans/ -o enhanced/"),
    (screen, "latentsr screen dataset/ --vae haar --vae vae/ -o screening/"),
    (fit_vae, "latentsr fit-vae dataset/ -o vae/ --factor 4 --latent-channels 3 --steps 20000"),
    (encode, "latentsr encode dataset/ --vae haar -o cache/"),
    (train, "latentsr train cache/ -o model/ --steps 4000"),
    (calibrate, "latentsr calibrate dataset/ --model model/ --alpha 0.1 -o calibrated/"),
    (evaluate, "latentsr evaluate dataset/ --method posterior=latentsr-tiny -o evaluation/"),
    (study, "latentsr study studies/smoke.yaml --source a=IMAGES --source b=MORE -o smoke/ --dry-run"),
    (demo, "latentsr demo -o demo/"),
)

EXIT_STATUS = """Exit status: 0 all done (written, kept, or no image and skipped); 1 some inputs failed, the others are
done; 2 nothing could be done, or wrong usage."""

# How threads share cores with other work; read once, when torch and numpy are imported. OpenMP's threads spin while
# they wait for one another, so that beside a busy process two are several times slower than one: let them sleep. Those
# of numpy's BLAS spin whatever they are told, and have next to nothing to do: one thread. Each is left to the user who
# sets that variable, or one of those behind it.
THREADS = {
    "OMP_WAIT_POLICY": ("passive", ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")),
    "OPENBLAS_NUM_THREADS": ("1", ("OMP_NUM_THREADS",)),
}

app = typer.Typer(
    name="latentsr",
    help=f"Latent diffusion super-resolution for medical images. {RESEARCH_USE}",
    epilog=EXIT_STATUS,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(prepare_app, name="prepare")
app.add_typer(models_app, name="models")
for command, example in COMMANDS:
    app.command(command.__name__.replace("_", "-"), epilog=f"Example: {example}")(command)
for registered in (entry for each in (app, prepare_app, models_app) for entry in each.registered_commands):
    registered.epilog = f"{registered.epilog}\n\n{EXIT_STATUS}"


def main() -> None:
    """Runs the command line; the exit status is as `EXIT_STATUS` says, and a mendable error is one line."""
    terminal.quiet()
    for name, (value, others) in THREADS.items():
        if not {name, *others} & os.environ.keys():
            os.environ[name] = value
    try:
        app(prog_name="latentsr")
    except LatentSRError as error:
        _fail(str(error))
    except (OSError, MemoryError) as error:  # a full disk, a forbidden folder, too large an image
        _fail(f"{error or type(error).__name__}; check disk, memory and permissions, then run the same command again")
    except RuntimeError as error:  # torch's words for no memory, on a GPU and on a CPU
        if "out of memory" not in str(error) and "allocate memory" not in str(error):
            raise
        _fail("too little memory; give a smaller --batch, or another --device, and run the same command again")


def _fail(message: str) -> None:
    terminal.show_error(message)
    sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        terminal.show(f"latentsr {__version__}. {RESEARCH_USE}")
        raise typer.Exit
