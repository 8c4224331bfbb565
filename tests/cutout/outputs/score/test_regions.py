"""Labelling of connected regions."""

import time

import numpy as np
import pytest

from cutout.outputs.score.regions import Indices, Mask, find_regions
from tests.support.machine import scaled


@pytest.mark.parametrize("seed", range(40))
def test_labels_are_those_of_a_flood_fill(seed: int) -> None:
    """Two pixels have one label if and only if a flood fill joins them, at any size and density."""
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 30, 2)) < random.random()
    labels, filled = find_regions(mask).labels, _flood_filled(mask)
    assert np.array_equal(labels > 0, mask)
    pairs = set(zip(labels.ravel().tolist(), filled.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(labels)) == len(np.unique(filled))


def test_regions_do_not_join_over_a_corner_or_around_the_border() -> None:
    """Diagonal neighbours are two regions, and so are the end of a row and the start of the next."""
    assert len(find_regions(np.eye(5, dtype=np.bool_)).sizes) == 6
    rows = np.zeros((2, 4), np.bool_)
    rows[0, -1] = rows[1, 0] = True
    assert find_regions(rows).sizes.tolist() == [6, 1, 1]


def test_sizes_count_pixels_and_the_border_is_known() -> None:
    """Sizes are pixels for each label; a region at the border is told from one inside."""
    mask = np.zeros((9, 9), np.bool_)
    mask[0, 2:5] = mask[4:6, 4:6] = True
    regions = find_regions(mask)
    assert regions.sizes.tolist() == [74, 3, 4]
    assert regions.touch_border().tolist() == [False, True, False]


@pytest.mark.parametrize("fill", [False, True])
def test_a_mask_of_one_value(fill: bool) -> None:  # noqa: FBT001
    """An empty mask has no region, and a full one has one."""
    assert find_regions(np.full((3, 4), fill)).sizes.tolist() == ([0, 12] if fill else [12])


def test_a_checkerboard_and_a_comb_are_labelled_in_milliseconds() -> None:
    """Neither many regions nor runs that join only at the far end make the labelling slow."""
    board = np.indices((256, 256)).sum(axis=0) % 2 == 0
    comb = np.zeros((256, 256), np.bool_)
    comb[:, ::2] = True
    comb[-1] = True
    for mask, count in ((board, 32_768), (comb, 1)):
        began = time.process_time()
        assert len(find_regions(mask).sizes) == count + 1
        assert time.process_time() - began < scaled(0.1)


def _flood_filled(mask: Mask) -> Indices:
    labels = np.zeros(mask.shape, np.intp)
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        label, waiting = labels.max() + 1, [start]
        while waiting:
            row, column = waiting.pop()
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if inside and mask[row, column] and not labels[row, column]:
                labels[row, column] = label
                waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return labels
