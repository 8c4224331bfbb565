"""CPU of a rendition beside a plain Pillow resize and save of the same size.

The cutout has the pixels that each preset needs, so nothing is enlarged. Both sides scale it to the
preset's canvas and encode it by the same settings; the plain one knows no box, background, shadow or measure.
"""

import argparse
import io
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from bench.table import head, line, put, verdict
from cutout.outputs.recipes import PRESETS, Recipe, parse_recipe
from cutout.outputs.render import render

GOAL = 3.0
SIDE, BOX = 2600, (150, 150, 2450, 2450)
MORE = ("amazon cut=float align=optical", "ebay shadow=contact", "ebay shadow=soft background=#e6ecf4")


def subject() -> Image.Image:
    """Return a cutout of 2600x2600 pixels: a round thing with the noise of a photo and a soft outline."""
    noise = np.random.default_rng(1).normal(0, 6, (SIDE, SIDE, 3))
    ramp = np.linspace(60, 200, SIDE)[:, None, None]
    picture = Image.fromarray(np.clip(ramp + noise, 0, 255).astype(np.uint8))
    alpha = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(alpha).ellipse(BOX, fill=255)
    picture.putalpha(alpha.filter(ImageFilter.GaussianBlur(1)))
    return picture


def plain(picture: Image.Image, recipe: Recipe) -> int:
    """Resize and save, nothing else; return the number of bytes."""
    assert not isinstance(recipe.canvas, str)
    buffer = io.BytesIO()
    more = {"subsampling": 0 if recipe.quality >= 90 else 2} if recipe.format == "jpeg" else {}
    scaled = picture.resize(recipe.canvas, Image.Resampling.LANCZOS)
    scaled.save(buffer, recipe.format.upper(), quality=recipe.quality, **more)
    return buffer.tell()


def best_ms(rounds: int, work: Callable[[], object]) -> float:
    """Return the least CPU time of some rounds in milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cutout = subject()
    flat = Image.new("RGB", cutout.size, "white")
    flat.paste(cutout.convert("RGB"), None, cutout.getchannel("A"))
    put(head("Output", "Size", "Bytes", "Plain, ms", "Rendition, ms", "Ratio", "Goal", ""))
    for words in (*(name for name in PRESETS if not isinstance(parse_recipe(name).canvas, str)), *MORE):
        recipe = parse_recipe(words)
        made = render(cutout, recipe, natural_scale=1.0)
        assert not made.problems, made.problems
        picture = cutout if recipe.mode == "RGBA" else flat
        before = best_ms(rounds, partial(plain, picture, recipe))
        after = best_ms(rounds, partial(render, cutout, recipe, natural_scale=1.0))
        ratio = after / before
        size = f"{made.width}x{made.height}"
        figures = (f"{before:.0f}", f"{after:.0f}", f"{ratio:.2f}", GOAL, verdict(ratio <= GOAL))
        put(line(words, size, len(made.data), *figures))


if __name__ == "__main__":
    main()
