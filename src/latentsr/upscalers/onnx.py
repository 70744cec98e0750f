"""The posterior mean of a model by ONNX Runtime, which starts without torch: the network alone is an ONNX file.

That file is made with torch, once for a model, and kept in the folder `onnx` of `latentsr.config.home` under a digest
of the model's config.json, which holds those of its weights; it is made again where it is not whole. All else is linear
and computed on arrays: the enlargement, the blocks that the latents of `Haar` are, and the projection. Pixels are
torch's to rounding, not to the last bit, so that results have a digest of their own.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from latentsr.atomic import replacing, write_bytes
from latentsr.config import HOME, home, read_signed_json, sha256, sha256_json, signed, write_json
from latentsr.degrade import enlarge, parse_degradation, project, translated
from latentsr.device import alike
from latentsr.errors import InputError, LatentSRError, ModelError, OptionError
from latentsr.names import NOISE_LEVEL
from latentsr.provenance import PIXELS, Provenance
from latentsr.tiling import OVERLAP, apply_tiled
from latentsr.upscalers import CONFIG, ONNX, whole_model
from latentsr.upscalers.inputs import TrainedInputs
from latentsr.upscalers.upscaler import Restored, Sampling, Upscaler
from latentsr.volume import Pixels

if TYPE_CHECKING:
    from torch import nn

    from latentsr.upscalers.restorer import Restorer

FORMAT = 1  # of what is kept; raise it with every change of that
NETWORK, FACTS = "network.onnx", "facts.json"
OPSET, IR = 13, 8  # versions of the ONNX file: old, so that every ONNX Runtime reads it


class OnnxMean(Upscaler):
    """The posterior mean of a model, where that is a regression network's; it needs no tensors, but takes them.

    `network` is the ONNX file, `facts` what is kept of the model beside it.
    """

    settings: Mapping[str, Any] = {"backend": ONNX}

    def __init__(self, facts: Mapping[str, Any], network: bytes, model_hash: str) -> None:
        self.network, self.model_hash, self.hash = network, model_hash, sha256_json([model_hash, self.settings])
        self.name, self.modalities, self.size = facts["name"], tuple(facts["modalities"]), tuple(facts["size"])
        self.trained = self.degradation = parse_degradation(facts["degradation"])
        self.residual, self.basis = facts["residual"], np.array(facts["basis"], np.float32)
        inputs = facts["inputs"]
        self.inputs = None if inputs is None else TrainedInputs.model_validate(inputs)
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        """All but the session, which no other process can be handed."""
        return {name: value for name, value in vars(self).items() if name != "session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What `__getstate__` gave, with a session of this process and its threads."""
        import onnxruntime

        vars(self).update(state)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = self.runtime["threads"], 4  # errors raise
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as threads of torch: `cli.THREADS`
        self.session = onnxruntime.InferenceSession(self.network, options, providers=["CPUExecutionProvider"])

    @classmethod
    def load(
        cls, name_or_folder: str | Path, *, device: str = "auto", tell: Callable[[str], None] = lambda text: None
    ) -> Self:
        """The mean of the model of that name which comes with the package, or of the one in a folder.

        `tell` takes a line where the ONNX file has to be made.

        Raises:
            OptionError: another device than the CPU, or no ONNX Runtime
            ModelError: a model that is missing or broken, whose mean is no regression network's, or no place to keep it
        """
        if device not in ("auto", "cpu"):
            raise OptionError(f"device {device}: the backend onnx computes on the CPU; choose the device cpu")
        if not (find_spec("onnxruntime") and find_spec("onnx")):
            raise OptionError(
                "the backend onnx needs ONNX Runtime: pip install 'latentsr[onnx]', or choose the backend torch"
            )
        folder, _ = whole_model(name_or_folder)
        digest = sha256(folder / CONFIG)
        kept = home() / "onnx" / sha256_json([FORMAT, PIXELS, digest])
        try:
            facts, network = read_signed_json(kept / FACTS), (kept / NETWORK).read_bytes()
            whole = hashlib.sha256(network).hexdigest() == facts[NETWORK]
        except (InputError, OSError):
            facts, network, whole = {}, b"", False
        if not whole:
            why = "was altered or cut off" if kept.exists() else "is made once for a model"
            tell(f"making the ONNX file of {folder.name}, which {why}")
            facts, network = _made(folder)
            try:
                with replacing(kept, over_folder=True) as part:
                    part.mkdir()
                    write_bytes(part / NETWORK, network)
                    write_json(part / FACTS, signed(facts))
            except LatentSRError as error:
                if not (kept / FACTS).is_file():  # else another process was sooner
                    raise ModelError(f"cannot write {kept}: set {HOME} to a folder that can be written") from error
        return cls(facts, network, digest)

    def tensor(self, lr: Pixels) -> Pixels:
        """The images themselves."""
        return lr

    def restore(self, lr: Any, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored[Any]:  # noqa: ARG002
        """SR of LR images (images, 1, rows, columns) in [0, 1], an array or a tensor as these; ids change nothing."""
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

        self.check(sampling)
        images = np.asarray(lr, np.float32)
        given = translated(images, self.degradation, self.trained)
        noise = np.array([self.degradation.noise], np.float32)

        def network(part: Pixels) -> Pixels:
            try:
                latents: Pixels = self.session.run(None, {"lr": part, "noise": noise})[0]
            except (Fail, RuntimeException) as error:  # such as no memory, in whose words torch says it, too
                raise RuntimeError(str(error)) from error
            return latents

        latents = apply_tiled(network, given, tile=sampling.tile, overlap=OVERLAP)
        blocks = np.tensordot(latents, self.basis, (1, 0))  # (images, rows, columns, rows and columns of a block)
        rows, columns = (side * self.scale for side in given.shape[-2:])
        drawn = blocks.transpose(0, 1, 3, 2, 4).reshape(-1, 1, rows, columns) / 2  # of [-1, 1]
        image = drawn + (enlarge(given, self.scale) if self.residual else np.float32(0.5))
        if not np.isfinite(image).all():
            raise InputError("the network gave non-finite pixels; the model is not fit for this image")
        image = alike(project(image, images, self.degradation) if sampling.consistency else image, lr)
        return Restored(image, mean=image)

    def check(self, sampling: Sampling) -> None:
        """OptionError for what makes samples."""
        if sampling.draws or self.steps(sampling) > 1 or sampling.solver:
            raise OptionError(
                f"the backend onnx gives the posterior mean of {self.name} alone: leave samples, steps, realism and "
                "solver out, or choose the backend torch"
            )

    @property
    def runtime(self) -> dict[str, Any]:
        """As of every upscaler, with the version of ONNX Runtime. Threads as torch's: OMP_NUM_THREADS or the cores."""
        import onnxruntime

        told = os.environ.get("OMP_NUM_THREADS", "")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = int(told) if told.isdecimal() and int(told) else cores
        return {"device": self.device, "threads": threads, "onnxruntime": onnxruntime.__version__}

    def provenance(self, sampling: Sampling) -> Provenance:
        """Who made a result, and how: the model by its own hash, the back end among the options."""
        return replace(super().provenance(sampling), model_hash=self.model_hash)


def _made(folder: Path) -> tuple[dict[str, Any], bytes]:
    """What is kept of a model, and its network as an ONNX file; ModelError for one that has no such mean.

    The network takes LR images (images, 1, rows, columns) in [0, 1] and the sd of their noise, (1,), and gives latents
    (images, channels, rows, columns) of images in [-1, 1], of residuals where the model has them.
    """
    import torch

    from latentsr.autoencoders.haar import Haar
    from latentsr.upscalers.model import SuperResolver

    model = SuperResolver.load(folder, device="cpu")
    mean = model.base or model
    latent, space, family = mean.autoencoder, mean.config.space, mean.config.denoiser.family
    unfit = [f"the posterior mean is a {family} network's"] if family != "regression" else []
    if not isinstance(latent, Haar) or latent.factor != model.scale:
        unfit.append(f"latents are those of {latent.spec.name} at 1/{latent.spec.factor}")
    if others := sorted(set(space.conditions) - {"pixels", NOISE_LEVEL}):
        unfit.append(f"the network sees {', '.join(others)}")
    if unfit:
        raise ModelError(
            f"{model.name}: the backend onnx takes regression networks that see the pixels of LR, in latents of haar "
            f"of LR's size, and here {unfit[0]}: choose the backend torch"
        )
    network = _network(mean)
    return {
        NETWORK: hashlib.sha256(network).hexdigest(),
        "name": model.name, "degradation": model.trained.text, "modalities": model.modalities, "size": model.size,
        "inputs": model.inputs and model.inputs.model_dump(mode="json"), "residual": space.target == "residual",
        "basis": latent.decode(torch.eye(latent.spec.latent_channels)[:, :, None, None])[:, 0].tolist(),
    }, network  # fmt: skip


def _network(mean: "Restorer") -> bytes:
    """The ONNX file of the network of a regression model: its modules one by one, the normalisation around them."""
    from onnx import TensorProto, helper, numpy_helper
    from torch import nn

    from latentsr.diffusion.denoiser import Residual

    nodes: list[Any] = []
    values: list[Any] = []

    def constant(value: Any) -> str:
        values.append(numpy_helper.from_array(np.asarray(value, np.float32), f"value{len(values)}"))
        return f"value{len(values) - 1}"

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"result{len(nodes)}"], **attributes))
        return f"result{len(nodes) - 1}"

    def layer(module: "nn.Module", x: str) -> str:
        if isinstance(module, nn.Conv2d) and (module.stride, module.dilation, module.groups) == ((1, 1), (1, 1), 1):
            weights = [constant(one.detach()) for one in module.parameters()]
            return add("Conv", x, *weights, pads=[*module.padding, *module.padding])
        if isinstance(module, nn.ReLU):
            return add("Relu", x)
        if not isinstance(module, nn.Sequential):
            raise ModelError(f"the backend onnx knows no layer such as {module}: choose the backend torch")
        features = x
        for inner in module.children():
            features = layer(inner, features)
        return add("Add", x, features) if isinstance(module, Residual) else features

    space = mean.config.space
    seen = {
        "pixels": lambda: add("Sub", add("Mul", "lr", constant(2)), constant(1)),  # to_network
        NOISE_LEVEL: lambda: add("Expand", "noise", add("Shape", "lr")),
    }
    parts = []
    for name in space.conditions:
        of = space.statistics[name]
        parts.append(add("Div", add("Sub", seen[name](), constant(of.mean)), constant(of.sd)))
    estimate = layer(mean.denoiser.body, add("Concat", *parts, axis=1))
    sd, centre = (np.array(one)[:, None, None] for one in (space.target_statistics.sd, space.target_statistics.mean))
    add("Add", add("Mul", estimate, constant(sd)), constant(centre))
    nodes[-1].output[0] = "latents"
    shapes = {"lr": ("images", 1, "rows", "columns"), "noise": (1,), "latents": ("images", len(sd), "rows", "columns")}
    *given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph(nodes, mean.name, given, [made], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR).SerializeToString()
