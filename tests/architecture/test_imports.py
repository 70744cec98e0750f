"""The import rules of docs/design.md, read from the source: layers, one home a package, what stays torch-free."""

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "latentsr"

LAYERS = (
    ("errors", "atomic", "config", "names", "volume", "provenance", "job", "workers"),
    ("device", "degrade", "tiling", "io", "metrics", "stats"),
    ("autoencoders", "diffusion", "data"),
    ("training", "upscalers"),
    ("bench", "calibrate", "enhance", "report", "demo", "judging"),
    ("study",),
    ("cli", "commands", "terminal", "serve", "__main__"),
)
LAYER = {unit: number for number, units in enumerate(LAYERS) for unit in units}

# Folders of one layer do not see each other, but the latent cache takes an autoencoder.
ALLOWED_NEIGHBOURS = {("data", "autoencoders"), ("training", "upscalers")}

HOMES = {
    "diffusers": ("autoencoders/*", "diffusion/*"),
    "highdicom": ("io/dicom/*",),
    "huggingface_hub": ("autoencoders/*",),
    "jinja2": ("report/page.py",),
    "lightning": ("training/*",),
    "matplotlib": ("report/figures/*",),
    "onnx": ("upscalers/onnx.py",),
    "onnxruntime": ("upscalers/onnx.py",),
    "nibabel": ("io/nifti*.py", "io/formats.py"),
    "PIL": ("io/raster*.py", "report/blocks.py"),
    "lpips": ("metrics/*",),
    "piq": ("metrics/*",),
    "spandrel": ("upscalers/pretrained.py",),
    "SimpleITK": ("io/formats.py",),
    "pydicom": ("io/dicom/*", "demo.py"),  # the demo's images are those of pydicom.data
    "ray": ("workers.py",),
    "tifffile": ("io/raster*.py",),
    "torch_fidelity": ("metrics/*",),
    "torchmetrics": ("metrics/*",),
    "typer": ("cli.py", "commands/*"),
    "yaml": ("config.py",),
}

TORCH_FREE = (
    "errors", "atomic", "config", "volume", "provenance", "io", "stats", "report", "cli", "commands", "workers",
    "device", "degrade", "tiling", "upscalers", "upscalers.inputs", "upscalers.onnx", "enhance",
)  # fmt: skip

# What a report takes of `stats`: names of columns, records, and what reads a row. Statistics are computed by jobs.
READ_BY_REPORTS = {
    "paired": {"Agreement"},
    "regression": {"CEILING", "LINE_COLUMNS", "RESULT", "SMALLEST", "Correlation"},
    "significance": {"FEWEST", "LEVEL", "Finding", "judge", "turned"},
    "table": {"read_table"},
}
COMPUTE = {"scipy", "statistics", "statsmodels", "torch"}  # packages


@dataclass(frozen=True)
class Import:
    """One imported module, as `package.module`, and the file (below src/latentsr) and line where it stands."""

    file: str
    line: int
    module: str

    @property
    def importer(self) -> str:
        return Path(self.file).parts[0].removesuffix(".py")

    @property
    def imported(self) -> str:
        """The first name below latentsr, or the empty text for the package root and for other packages."""
        parts = self.module.split(".")
        return parts[1] if parts[0] == "latentsr" and len(parts) > 1 else ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


@cache
def _sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@cache
def _imports() -> list[Import]:
    return [found for path in _sources() if path != SOURCE / "__init__.py" for found in _imports_of(path)]


def _imports_of(path: Path) -> list[Import]:
    file = path.relative_to(SOURCE).as_posix()
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [Import(file, node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import; write the module's full name"
            names = [alias.name for alias in node.names] if node.module == "latentsr" else [""]
            found += [Import(file, node.lineno, f"{node.module}.{name}".rstrip(".")) for name in names]
    return found


def _inner_imports() -> list[Import]:
    return [item for item in _imports() if item.imported and item.imported != "__version__"]


def test_every_unit_has_a_layer() -> None:
    units = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in _sources()} - {"__init__"}
    assert units <= LAYER.keys(), f"add to LAYERS: {sorted(units - LAYER.keys())}"


def test_nothing_is_taken_through_the_package_root() -> None:
    breaches = [str(item) for item in _inner_imports() if item.imported not in LAYER]
    assert not breaches, "import a name from its home: " + "; ".join(breaches)


def test_no_file_imports_a_higher_layer() -> None:
    breaches = [str(item) for item in _inner_imports() if LAYER[item.imported] > LAYER[item.importer]]
    assert not breaches, "; ".join(breaches)


def test_folders_of_one_layer_do_not_see_each_other() -> None:
    folders = {path.parent.relative_to(SOURCE).parts[0] for path in _sources() if path.parent != SOURCE}
    breaches = [
        str(item)
        for item in _inner_imports()
        if item.importer != item.imported
        and {item.importer, item.imported} <= folders
        and LAYER[item.importer] == LAYER[item.imported]
        and (item.importer, item.imported) not in ALLOWED_NEIGHBOURS
    ]
    assert not breaches, "; ".join(breaches)


def test_a_report_reads_and_draws_and_computes_no_statistic() -> None:
    breaches = [str(i) for i in _imports() if i.importer == "report" and i.module.partition(".")[0] in COMPUTE]
    for path in (SOURCE / "report").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("latentsr.stats"):
                allowed = READ_BY_REPORTS.get((node.module or "").removeprefix("latentsr.stats."), set())
                breaches += [f"{path.name}: {one.name}" for one in node.names if one.name not in allowed]
    assert not breaches, "statistics belong into a table that a job writes: " + "; ".join(breaches)


@pytest.mark.parametrize("package", sorted(HOMES))
def test_a_package_has_one_home(package: str) -> None:
    users = [item for item in _imports() if item.module.split(".")[0] == package]
    breaches = [str(item) for item in users if not any(fnmatch(item.file, home) for home in HOMES[package])]
    assert not breaches, f"{package} belongs in {', '.join(HOMES[package])}: " + "; ".join(breaches)


def test_the_demo_takes_only_example_files_from_pydicom() -> None:
    modules = {i.module for i in _imports() if i.file == "demo.py" and i.module.split(".")[0] == "pydicom"}
    assert modules <= {"pydicom.data"}


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [
        *project["dependencies"],
        *(one for extra in ("formats", "onnx", "ray") for one in project["optional-dependencies"][extra]),
    ]
    declared = {_normal(re.split(r"[<>=!~;\[ ]", text)[0]) for text in texts}
    owners = metadata.packages_distributions()
    packages = {item.module.split(".")[0] for item in _imports()} - set(sys.stdlib_module_names) - {"latentsr"}
    missing = {name for name in packages if not declared & {_normal(owner) for owner in owners.get(name, [])}}
    assert not missing, f"add to the dependencies in pyproject.toml: {sorted(missing)}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_slow_is_imported_where_it_is_needed() -> None:
    """Asked of a new interpreter, so that imports of imports count too; the first unit that imports torch is named.

    Restoring an image needs torch, where not by ONNX Runtime, and not diffusers, which takes longer still.
    """
    program = (
        "import importlib, sys\n"
        f"for unit in {TORCH_FREE}:\n"
        "    importlib.import_module(f'latentsr.{unit}')\n"
        "    if 'torch' in sys.modules: sys.exit(f'latentsr.{unit} imports torch')\n"
        "import latentsr.enhance, latentsr.upscalers.model\n"
        "if 'diffusers' in sys.modules: sys.exit('latentsr.enhance imports diffusers')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
