"""The last checkpoint of a training: written whole or not at all, and taken up again only by the same training."""

# ruff: noqa: ARG002 (Lightning fixes the arguments of its hooks)

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from latentsr.config import canonical_json
from latentsr.errors import InputError, StaleError


class LastCheckpoint(Callback):
    """Writes `folder`/last.ckpt at the end of every epoch and of the training.

    `facts` (options, hash of the data) go into the file; a checkpoint with other facts raises StaleError on resume.
    """

    def __init__(self, folder: Path, facts: Mapping[str, object]) -> None:
        self.path = Path(folder) / "last.ckpt"
        self.facts = canonical_json(facts)

    def found(self) -> Path | None:
        """The checkpoint of an earlier run, to be given to `Trainer.fit`; None if there is none, InputError if cut."""
        if not self.path.is_file():
            return None
        if not zipfile.is_zipfile(self.path):  # the form that torch saves, its directory at the end
            raise InputError(f"{self.path}: cut off or altered; remove it to begin the training anew")
        return self.path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes under another name, then renames: a kill leaves the checkpoint before."""
        temporary = self.path.with_name(".last.part.ckpt")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            temporary.replace(self.path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the facts."""
        checkpoint["latentsr_facts"] = self.facts

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another training."""
        if checkpoint.get("latentsr_facts") != self.facts:
            raise StaleError(
                f"{self.path}: was made with other options or other data; give the options of that run, "
                "or another output folder"
            )
