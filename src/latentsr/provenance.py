"""Provenance: the model and options that made an image, as every output states them."""

from dataclasses import dataclass

from latentsr import __version__

RESEARCH_USE = "Research use only. Not for diagnosis."

# The version of all that decides pixels. Raise it with every change of code after which the same input, model, options
# and seed give other pixels: derived identities and the digests of finished work depend on it.
PIXELS = 3

POSTERIOR_MEAN, SAMPLE, UNCERTAINTY = "posterior mean", "sample", "uncertainty"
INTERVAL, TRUST = "interval", "trust mask"  # maps too: half its width, and where that is small
MAPS = (UNCERTAINTY, INTERVAL, TRUST)
INTERPOLATION, ESTIMATE = "interpolation", "network estimate"  # one image: of no network, and of one without samples


@dataclass(frozen=True)
class Provenance:
    """Who made an image: `model` and its hash, latentsr's `version`, the seed and the options as canonical JSON.

    `synthetic`: detail was made up (diffusion), as in DICOM's SyntheticData. `image` is the kind of the pixels:
    `POSTERIOR_MEAN`, `SAMPLE`, "mean of 8 samples", `ESTIMATE`, `INTERPOLATION`, of a map one of `MAPS`;
    empty without a model. `what` says what was done to the source where that is no enlargement in plane, and `unlike`
    how the input differs from the model's training images.
    """

    model: str
    version: str
    model_hash: str
    seed: int
    options: str
    synthetic: bool = True
    image: str = ""
    what: str = ""
    unlike: tuple[str, ...] = ()

    def __repr__(self) -> str:
        made = f"latentsr {self.version}, model {self.model}"
        return f"Provenance({self.image or 'image'}, {made}, seed {self.seed})"

    def note(self, scale: int, use: str = RESEARCH_USE) -> str:
        """One line for a reader of the output: model, version, scale, what it may not be used for, and warnings.

        `use`: the sentence on its use, empty where the reader has it elsewhere.
        """
        kind = f" ({self.image})" if self.image else ""
        what = self.what or f"Enlarged {scale} times in plane"
        made = f"{what} by latentsr {self.version}, model {self.model}{kind}."
        detail = "Detail is partly made up." if self.synthetic else ""
        warnings = f"Warning: {'; '.join(self.unlike)}." if self.unlike else ""
        return " ".join(filter(None, (made, detail, use, warnings)))

    def text(self, scale: int) -> dict[str, str]:
        """The key-value text that PNG, TIFF and NIfTI sidecars carry."""
        return {
            "Description": self.note(scale),
            "Software": f"latentsr {self.version}",
            "latentsr:image": self.image,
            "latentsr:model": self.model,
            "latentsr:model_hash": self.model_hash,
            "latentsr:seed": str(self.seed),
            "latentsr:options": self.options,
            "latentsr:scale": str(scale),
            "latentsr:synthetic": "YES" if self.synthetic else "NO",
        }


# Of a volume that is written without a model having touched it.
WITHOUT_MODEL = Provenance("none", __version__, "none", 0, "{}", synthetic=False)
