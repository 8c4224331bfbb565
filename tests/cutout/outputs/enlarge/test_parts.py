"""Parts of the enlargement whose faults would hardly show in a whole picture."""

import numpy as np

from cutout.outputs.enlarge import SOFT
from cutout.outputs.enlarge.fit import HALO, coefficients
from cutout.outputs.enlarge.softness import judged
from tests.cutout.outputs.enlarge.drawn import spokes

CHANCE = np.random.default_rng(5)


class TestCoefficients:
    def test_of_a_part_are_those_of_the_whole(self) -> None:
        """Away from the ends of a part by the halo, its coefficients do not depend on where it was cut."""
        sent = CHANCE.integers(0, 256, (40, 30, 3), np.uint8)
        alpha = CHANCE.integers(0, 256, (40, 30), np.uint8)
        whole = coefficients(sent, alpha)[:, 10:30]
        part = coefficients(sent[10 - HALO : 30 + HALO], alpha[10 - HALO : 30 + HALO])[:, HALO : 20 + HALO]
        assert np.abs(whole - part).max() < 1e-3


class TestSoftness:
    def test_of_noisy_colours_is_not_taken_for_a_soft_mask(self) -> None:
        """Noise makes the colours' line distant, but no steeper than a sharp mask."""
        scene = spokes()
        mask = np.asarray(scene.bought().getchannel("A"))
        noise = CHANCE.normal(0, 45, (*mask.shape, 3))
        noisy = np.clip(np.asarray(scene.sent) + noise, 0, 255).astype(np.uint8)
        found = judged(noisy, mask)
        assert found.softness > SOFT
        assert not found.is_soft
