"""Which device a job runs on."""

import hashlib
import sys

import torch

from latentsr.errors import OptionError


def resolve_device(device: str) -> str:
    """The torch device that `device` names; "auto" is the GPU if there is one. Never another than was asked for."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (":" in device and not number.isdecimal()):
        raise OptionError(f"device {device}: expected auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            f"device {device}: torch finds no GPU; choose the device cpu, or mend the driver ('nvidia-smi')"
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise OptionError(f"device {device}: expected one of cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def in_float32(device: str | torch.device) -> torch.autocast:
    """No autocast on its kind of device: within it all is computed in float32, as a finished model computes."""
    return torch.autocast(torch.device(device).type, enabled=False)


def image_generator(seed: int, image: str, draw: int = 0) -> torch.Generator:
    """The CPU generator of one image and draw: order, batch and workers change nothing."""
    digest = hashlib.sha256(f"{seed}:{image}:{draw}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def peak_memory(device: str) -> int:
    """Bytes at the peak so far: of the GPU if it computes there, else of this process; 0 where the system is silent."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
