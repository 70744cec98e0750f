"""The design of a study: its YAML file, with what it inherits, as a checked record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from latentsr.config import Config, Seed, checked, read_yaml
from latentsr.errors import OptionError, suggestion
from latentsr.study.published import PROTOCOLS, Roles, publication

# A file's or files' keys, another arm's or dataset's keys: what is given here goes before them.
INHERIT, LIKE = "inherit", "like"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Options = dict[str, Any]

# By name: how many ARM:SAMPLING show it, the one with the defect first, and what is compared.
DEFECTS: Mapping[str, tuple[int, str]] = {
    "truncated-sampler": (2, "the first entries of the noise table against more of it, or as many spread over it"),
    "raw-scale": (2, "latents as they are against latents normalised by channel"),
    "native-condition": (2, "LR encoded at its own size against LR enlarged before it is encoded"),
    "unseeded-draws": (2, "one draw of each posterior against its mean"),
    "self-score": (1, "against decode(encode(HR)) instead of HR, the same images"),
    "mis-pairing": (1, "against the HR at the same place in the order of unpadded numbers, the same images"),
    "images-as-patients": (2, "units of the interval and the test of a contrast"),
}


class DatasetDesign(Config):
    """A dataset of `prepare`.

    `source` is where the recipe looks, relative to the file that says so; None: it is given when the study is run.
    `options` are those of `prepare` and of the recipe; `split`, which images are measured; `degradation`, how their LR
    is made, if not as the study says.
    """

    recipe: str = "folder"
    source: Path | None = None
    options: Options = Field(default_factory=dict)
    split: str = "valid"
    degradation: str | None = None


class AutoencoderDesign(Config):
    """An autoencoder that exists, by `name` or folder, or one to `fit` on `datasets` with the options of `fit-vae`.

    `init` of `fit` may be another autoencoder of the study; `preset` is "published", whose options `fit` changes.
    """

    name: str | None = None
    preset: str | None = Field(None, pattern="^published$")
    fit: Options | None = None
    datasets: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _exists_or_is_fitted(self) -> "AutoencoderDesign":
        if (self.name is None) == (self.fit is None) or (self.fit is None) != (not self.datasets):
            raise ValueError("an autoencoder is either a name, or fit with datasets")
        return self


class Encoding(Config):
    """What `encode` keeps: see `latentsr.data.latents.fill_cache`."""

    conditions: tuple[str, ...] = ("latent-up", "pixels")
    draw: Seed | None = None
    released: Path | None = None


class Arm(Config):
    """A model trained on each of `datasets` (on all together if `joint`) for each seed, or an `upscaler` as it is.

    Attributes:
        autoencoder: in whose latents it is trained.
        upscaler: instead of a training: a model's name or folder, a pretrained network, or bicubic.
        preset: "published", whose options `train` changes.
        train: the options of `train`; its `base` may be another arm, trained on the same datasets with the same seeds.
        samplings: by name, the options under which its images are made and measured.
        measure: options of `evaluate` in place of the study's; None takes one of these away.
    """

    datasets: tuple[Name, ...] = Field(min_length=1)
    joint: bool = False
    autoencoder: Name | None = None
    upscaler: str | None = None
    encode: Encoding = Encoding()
    preset: str | None = Field(None, pattern="^published$")
    train: Options = Field(default_factory=dict)
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    samplings: dict[Name, Options] = Field(default={"mean": {}}, min_length=1)
    measure: Options = Field(default_factory=dict)

    @model_validator(mode="after")
    def _trained_or_not(self) -> "Arm":
        if (self.autoencoder is None) == (self.upscaler is None):
            raise ValueError("an arm has either an autoencoder to train in, or an upscaler")
        return self


class Design(Config):
    """A study. `contrasts` are differences of ARM:SAMPLING and ARM:SAMPLING, by name.

    `defects` names the ARM:SAMPLING that show what each of DEFECTS costs, `stands_for` what stands for datasets and
    methods of the published study.

    `measure` holds the options of `evaluate` for all arms, `screen` those of `screen`; None: no screening.

    In `measure`, `reference_autoencoder` and `latent` may be autoencoders of the study.
    """

    name: Name
    degradation: str = "bicubic:4"
    datasets: dict[Name, DatasetDesign] = Field(min_length=1)
    autoencoders: dict[Name, AutoencoderDesign] = Field(default_factory=dict)
    arms: dict[Name, Arm] = Field(min_length=1)
    measure: Options = Field(default_factory=dict)
    screen: Options | None = None
    contrasts: dict[Name, tuple[str, str]] = Field(default_factory=dict)
    defects: dict[Name, tuple[str, ...]] = Field(default_factory=dict)
    stands_for: Roles = Roles()

    @model_validator(mode="after")
    def _names_exist(self) -> "Design":
        for what, own in (("autoencoder", self.autoencoders), ("arm", self.arms)):
            for name, one in own.items():
                _check_names(f"{what} {name}: dataset", one.datasets, self.datasets)
        samplings = {f"{name}:{one}": 0 for name, arm in self.arms.items() for one in arm.samplings}
        for name, pair in self.contrasts.items():
            _check_names(f"contrast {name}:", pair, samplings)
        _check_names("defect", self.defects, DEFECTS)
        for name, shown in self.defects.items():
            _check_names(f"defect {name}:", shown, samplings)
            if len(shown) != DEFECTS[name][0]:
                raise ValueError(f"defect {name} names {len(shown)} samplings, expected {DEFECTS[name][0]}")
        roles = self.stands_for
        _check_names("stands_for: published dataset", roles.datasets, publication().datasets)
        _check_names("stands_for: dataset", roles.datasets.values(), self.datasets)
        for protocol in PROTOCOLS:
            for method in getattr(roles, protocol):
                _check_names(f"stands_for: {protocol} method", [method], dict.fromkeys(publication().methods))
                _check_names(f"stands_for: {method}:", roles.samplings(protocol, method), samplings)
        for name, arm in self.arms.items():
            if arm.joint and len({self.degradation_of(dataset) for dataset in arm.datasets}) > 1:
                raise ValueError(f"arm {name} is joint: its datasets need one degradation")
            _check_names(f"arm {name}: autoencoder", [arm.autoencoder] if arm.autoencoder else [], self.autoencoders)
        return self

    def degradation_of(self, dataset: str) -> str:
        """How LR of a dataset is made."""
        return self.datasets[dataset].degradation or self.degradation


def read_design(file: Path, *, sources: Mapping[str, Path] | None = None) -> Design:
    """The design in a YAML file; `sources` are folders of datasets by name, in place of those that the file names.

    OptionError, one line, for a file that cannot be read, an unknown key or name (with the nearest), and a file or arm
    that inherits from itself.
    """
    content = _inherited(Path(file), ())
    if isinstance(datasets := content.get("datasets"), dict):
        _check_names(f"{file}: source of dataset", sources or {}, datasets)
        for name, folder in (sources or {}).items():
            datasets[name] = _merged(datasets[name], {"source": folder})
    for kind in ("datasets", "arms"):
        if isinstance(all_of_kind := content.get(kind), dict):
            content[kind] = {name: _like(name, all_of_kind, (), file) for name in all_of_kind}
    cleared = _without_nulls(content)
    for name, arm in cleared["arms"].items() if isinstance(cleared.get("arms"), dict) else ():
        if isinstance(arm, dict) and "measure" in arm:  # its nulls take away what the study has
            arm["measure"] = content["arms"][name]["measure"]
    return checked(Design, cleared, str(file))


def _inherited(file: Path, heirs: tuple[Path, ...]) -> dict[str, Any]:
    """The content of a file over those that it inherits from, the first named the strongest."""
    file = file.resolve()
    if file in heirs:
        raise OptionError(f"{heirs[-1]}: inherits from {file.name}, which inherits from it; leave one of both out")
    content = read_yaml(file)
    parents = content.pop(INHERIT, [])
    datasets = content.get("datasets")
    for own in datasets.values() if isinstance(datasets, dict) else ():
        if isinstance(own, dict) and isinstance(own.get("source"), str):
            own["source"] = str(file.parent / own["source"])
    for parent in [parents] if isinstance(parents, str) else parents:
        content = _merged(_inherited(file.parent / str(parent), (*heirs, file)), content)
    return content


def _like(name: str, every: Mapping[str, Any], heirs: tuple[str, ...], file: Path) -> Any:
    """An arm or a dataset over the one that it is like."""
    one = every[name]
    if not isinstance(one, dict) or LIKE not in one:
        return one
    other = one[LIKE]
    _check_names(f"{file}: {name} is like", [other], every)
    if other in (*heirs, name):
        raise OptionError(f"{file}: {name} is like {other}, which is like it; leave one of both out")
    own = {key: value for key, value in one.items() if key != LIKE}
    return _merged(_like(other, every, (*heirs, name), file), own)


def _merged(under: Any, over: Any) -> Any:
    """`over` unless both are mappings; else both, key by key."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    keys = [*under, *(key for key in over if key not in under)]
    return {key: _merged(under.get(key), over[key]) if key in over else under[key] for key in keys}


def _without_nulls(content: Any) -> Any:
    """The content without keys that are null: so one file or arm takes away what another has."""
    if not isinstance(content, dict):
        return content
    return {key: _without_nulls(value) for key, value in content.items() if value is not None}


def _check_names(what: str, names: Any, valid: Mapping[str, Any]) -> None:
    for name in names:
        if name not in valid:
            raise OptionError(f"{what} {name}: there is none; expected {', '.join(valid)}{suggestion(name, valid)}")
