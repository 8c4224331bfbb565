"""Version of the code that makes an output; what another version made is not used again."""

from cutout.outputs.child_protocol import SCORE
from cutout.outputs.recipes import RECIPE_VERSION
from cutout.outputs.score.rules import SCORE_VERSION


def version_of(recipe: str) -> int:
    """The version that makes an output of the recipe today: a score has one of its own."""
    return SCORE_VERSION if recipe == SCORE else RECIPE_VERSION
