"""The last checkpoint of a training: written whole or not at all, and taken up again only by the same training."""

# ruff: noqa: ARG002 (Lightning fixes the arguments of its hooks)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from latentsr.config import canonical_json, read_json, sha256, write_json
from latentsr.errors import InputError, StaleError


class LastCheckpoint(Callback):
    """Writes `folder`/last.ckpt at the end of every epoch and of the training, its SHA-256 beside it.

    `facts` (options, hash of the data) go into the file; a checkpoint with other facts raises StaleError on resume,
    unless they are `earlier`, those of a finished training that this one extends.
    """

    def __init__(
        self, folder: Path, facts: Mapping[str, object], *, earlier: Mapping[str, object] | None = None
    ) -> None:
        self.path = Path(folder) / "last.ckpt"
        self.hashes = Path(folder) / "last.json"
        self.facts = canonical_json(facts)
        self.accepted = {self.facts} if earlier is None else {self.facts, canonical_json(earlier)}
        self._digest: str | None = None

    def found(self) -> Path | None:
        """The checkpoint of an earlier run, to be given to `Trainer.fit`; None if there is none.

        InputError if it is not as it was written; it is hashed once, about a second a gigabyte.
        """
        if not self.path.is_file():
            return None
        if self._digest is None:
            written = read_json(self.hashes) if self.hashes.is_file() else None
            digest = sha256(self.path)
            if not isinstance(written, dict) or digest not in written.get("sha256", ()):
                raise InputError(f"{self.path}: cut off or altered; remove it to begin the training anew")
            self._digest = digest
        return self.path

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends a training that diverged, before NaN from its network is blamed on the autoencoder.

        InputError; the checkpoint before stays.
        """
        if not all(torch.isfinite(parameter).all() for parameter in pl_module.parameters()):
            raise InputError(
                f"the training diverged, its weights are not finite at step {trainer.global_step}; "
                "set a smaller learning_rate and choose another output folder"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes under another name, then renames: a kill leaves the checkpoint before.

        The file of hashes comes first and names both checkpoints, so that it fits whichever a kill leaves.
        """
        self.on_validation_start(trainer, pl_module)  # there may be no validation
        temporary = self.path.with_name(".last.part.ckpt")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            digest = sha256(temporary)
            write_json(self.hashes, {"sha256": [digest, *([self._digest] if self._digest else [])]})
            temporary.replace(self.path)
            self._digest = digest

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the facts."""
        checkpoint["latentsr_facts"] = self.facts

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another training."""
        if checkpoint.get("latentsr_facts") not in self.accepted:
            raise StaleError(
                f"{self.path}: was made with other options or other data; set the options of that run, "
                "or choose another output folder"
            )
