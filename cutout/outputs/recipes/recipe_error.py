"""Error for a recipe, an output's name or a name template that is refused."""


class RecipeError(ValueError):
    """The text is refused. The message has the word, and the known ones or the range."""
