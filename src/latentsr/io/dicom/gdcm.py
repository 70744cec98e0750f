"""GDCM in a process of its own: a broken codestream may end it or hang it, but not this process.

GDCM lets exceptions of its codecs through to the interpreter, which then aborts. This file is also that process's
program: it imports nothing of latentsr, so that it starts in any environment that has pydicom and GDCM.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

SECONDS = 8  # for one image: GDCM decodes about 50 million pixels a second
_SECONDS_TO_START = 60  # a busy machine or a cold disk is not the image's fault
_MEMORY = 2**31  # bytes of address space, beside eight times what the image takes


def decode(encapsulated: bytes, syntax: str, options: dict[str, Any]) -> bytes:
    """The bytes of one decoded frame, little endian, as GDCM gives them for pixel data of that transfer syntax.

    `options` are those of pydicom's decoders and hold only what JSON can say. RuntimeError where GDCM gives nothing:
    it refuses, crashes, runs longer than `SECONDS` or needs more memory than such an image can.
    """
    return _process(os.getpid()).decode(encapsulated, {"syntax": syntax, **options})


@cache
def _process(owner: int) -> "_Process":  # noqa: ARG001 - a forked process must not share its parent's pipes
    return _Process()


class _Process:
    """The decoding process; started by the first image, and again after one that ended it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def decode(self, content: bytes, request: dict[str, Any]) -> bytes:
        """The answer to one request; RuntimeError, and the process is stopped, where none comes."""
        with self.lock:
            if self.process is None:
                command = [sys.executable, "-P", str(Path(__file__))]
                environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread takes address space
                pipe = subprocess.PIPE
                self.process = subprocess.Popen(
                    command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment
                )
                self._exchange(self.process, _SECONDS_TO_START)
            return self._exchange(self.process, SECONDS, _message(request, content))

    def _exchange(self, process: subprocess.Popen[bytes], seconds: float, message: bytes = b"") -> bytes:
        """The next answer of the process after `message`; RuntimeError on an error or after `seconds` without one."""
        source, sink = cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stdin)  # both are pipes
        alarm = threading.Timer(seconds, process.kill)
        alarm.start()
        try:
            sink.write(message)
            sink.flush()
            answer, content = _received(source)
        except (OSError, EOFError) as error:
            self.stop()
            raise RuntimeError("GDCM's process ended without an answer") from error
        finally:
            alarm.cancel()
        if "error" in answer:
            raise RuntimeError(f"GDCM raised {answer['error']}")
        return content

    def stop(self) -> None:
        """Ends the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def _message(facts: dict[str, Any], content: bytes = b"") -> bytes:
    return json.dumps({**facts, "length": len(content)}).encode() + b"\n" + content


def _received(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The facts and the content of the next message; EOFError where it does not come whole."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    facts = json.loads(line)
    length = facts.pop("length")
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return facts, content


def _serve() -> None:
    """Answers requests on standard input, one after another, until it is closed."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    from pydicom.pixels import get_decoder

    message = _message({})
    while True:
        sink.write(message)
        sink.flush()
        try:
            request, content = _received(source)
        except EOFError:
            return
        if os.name == "posix":  # bounds the address space to what the image, of so many bits, can need
            import resource

            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            wanted = _MEMORY + request["rows"] * request["columns"] * request["bits_allocated"]
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        try:
            decoder = get_decoder(request.pop("syntax"))
            message = _message({}, bytes(decoder.as_buffer(content, decoding_plugin="gdcm", **request)[0]))
        except Exception as error:  # noqa: BLE001 - sent to the other process, which raises it
            message = _message({"error": type(error).__name__})


if __name__ == "__main__":
    _serve()
