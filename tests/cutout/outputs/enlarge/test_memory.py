"""Memory of an enlargement beyond the pictures given."""

import subprocess
import sys

import pytest

# 300 MB beyond the original are allowed, of which the result takes 96.
PEAK_OF_24_MP = """
import re
from pathlib import Path
from PIL import Image, ImageDraw
from cutout.outputs.enlarge import enlarge

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

original = Image.new("RGB", (6000, 4000), (220, 230, 210))
mask = Image.new("L", (1999, 1333))
pen, mask_pen = ImageDraw.Draw(original), ImageDraw.Draw(mask)
for number in range(-1300, 1999, 9):
    pen.line([(number * 3.0015, 0), (number * 3.0015 + 4000, 4000)], fill=(60, 20, 90), width=9)
    mask_pen.line([(number, 0), (number + 1333, 1333)], fill=255, width=3)
sent = original.resize(mask.size)
bought = sent.convert("RGBA")
bought.putalpha(mask)
before = kilobytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
enlarge(original, sent, bought, sharpen=True, decontaminated=True)
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured through /proc")
class TestMemory:
    @pytest.mark.long("enlarges a picture of 24 megapixels")
    def test_for_24_megapixels_stays_under_300_mb(self) -> None:
        """With edges everywhere, the peak is bounded; it takes the result and its alpha at least."""
        command = [sys.executable, "-c", PEAK_OF_24_MP]
        found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
        assert 100_000 < int(found.stdout) < 300_000
