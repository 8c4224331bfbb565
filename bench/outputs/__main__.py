"""Measure full resolution on drawn scenes, and print tables with their goals."""

import argparse

from bench.outputs.cost import cost
from bench.outputs.quality import qualities
from bench.outputs.scenes import SCENES, Scene, Size
from bench.table import head, put, verdict

_QUICK, _FULL = (3000, 2000), (6000, 4000)
# Megapixels, and the most megabytes beyond the picture; none is promised for 80.
_SIZES: dict[int, tuple[Size, float | None]] = {
    24: ((6000, 4000), 300),
    50: ((8660, 5774), 500),
    80: ((10954, 7303), None),
}
_COSTS = [("spokes before foliage", 24), ("hair before blue", 24), ("white on white", 24)]
_COSTS += [("spokes before foliage", 50), ("hair before blue", 50), ("spokes before foliage", 80)]
_ALPHA_TIMES, _WHOLE_TIMES = 15, 25


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scene", help="only scenes whose name contains this")
    options.add_argument(
        "--quick", action="store_true", help="6 megapixels instead of 24, no larger pictures"
    )
    chosen = options.parse_args()
    scenes = [scene for scene in SCENES if chosen.scene is None or chosen.scene in scene.name]
    _print_quality(scenes, _QUICK if chosen.quick else _FULL)
    _print_cost(scenes, _COSTS[:1] if chosen.quick else _COSTS)


def _print_quality(scenes: list[Scene], size: Size) -> None:
    put([f"Squared error of alpha x1000 along the outline, {size[0]}x{size[1]}:", ""])
    colours = ("Colours: bicubic", "ours", "Softness", "Rest", "")
    put(head("Scene", "Mask", "Bicubic", "Ours", "Ratio", "Goal", *colours))
    for scene in scenes:
        for one in qualities(scene, size):
            name = f"{scene.name} (unseen)" if scene.unseen else scene.name
            put(
                f"| {name} | {one.mask} | {one.bicubic * 1000:.2f} | {one.ours * 1000:.2f} | {one.ratio:.3f} "
                f"| {one.goal:g} | {one.bicubic_colour:.1f} | {one.colour:.1f} | {one.softness:.3f} "
                f"| {one.residual:.2f} | {verdict(one.is_reached)} |"
            )


def _print_cost(scenes: list[Scene], costs: list[tuple[str, int]]) -> None:
    names = ("Bicubic, s", "Alpha, s", "Times", "With colours, s", "Times", "MB beyond it", "Goal", "")
    put(["", head("Picture", *names)])
    for name, number in costs:
        for scene in (scene for scene in scenes if scene.name == name):
            size, most = _SIZES[number]
            one = cost(scene, size)
            alpha, whole = one.alpha_s / one.bicubic_s, one.whole_s / one.bicubic_s
            fits = most is None or one.megabytes <= most
            reached = alpha <= _ALPHA_TIMES and whole <= _WHOLE_TIMES and fits
            put(
                f"| {number} MP, {scene.name} | {one.bicubic_s:.2f} | {one.alpha_s:.2f} | {alpha:.1f} "
                f"| {one.whole_s:.2f} | {whole:.1f} | {one.megabytes:.0f} "
                f"| {_ALPHA_TIMES} and {_WHOLE_TIMES} times, {most or 'any'} MB "
                f"| {verdict(reached)} |"
            )


if __name__ == "__main__":
    main()
