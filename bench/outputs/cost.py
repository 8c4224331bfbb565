"""CPU time and memory of the enlargement of one picture, in a process of its own."""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bench.outputs.scenes import Scene, Size, photographed
from cutout.outputs.enlarge import enlarge, enlarge_alpha

_ROUNDS = 5


@dataclass(frozen=True)
class Cost:
    """Least CPU seconds of all rounds, and megabytes at the peak beyond the loaded pictures."""

    bicubic_s: float
    alpha_s: float
    whole_s: float
    megabytes: float


def cost(scene: Scene, size: Size) -> Cost:
    """Photograph a scene with its sharp mask and measure its enlargement in a child process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = photographed(scene, size)
        made.original.save(folder / "original.ppm")
        made.sent.save(folder / "sent.png")
        made.bought("sharp").save(folder / "bought.png")
        del made
        command = [sys.executable, "-m", "bench.outputs.cost", name]
        return Cost(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _measure(folder: Path) -> Cost:
    original, sent, bought = (
        Image.open(folder / name) for name in ("original.ppm", "sent.png", "bought.png")
    )
    for image in (original, sent, bought):
        image.load()
    before = _kilobytes("VmRSS")
    enlarge(original, sent, bought)
    # VmHWM and not ru_maxrss: a child inherits the latter from its parent.
    megabytes = (_kilobytes("VmHWM") - before) / 1000
    alpha = bought.getchannel("A")
    return Cost(
        _least(lambda: alpha.resize(original.size, Image.Resampling.BICUBIC)),
        _least(lambda: enlarge_alpha(original, sent, bought)),
        _least(lambda: enlarge(original, sent, bought)),
        megabytes,
    )


def _least(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


def _kilobytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1])).__dict__))
