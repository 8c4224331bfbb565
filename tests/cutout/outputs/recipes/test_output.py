"""Names of outputs."""

import pytest

from cutout.outputs.recipes import (
    PRESETS,
    RESERVED_NAMES,
    RecipeError,
    parse_output,
    parse_outputs,
    parse_recipe,
)


class TestParseOutput:
    @pytest.mark.parametrize("name", PRESETS)
    def test_preset_names_itself(self, name: str) -> None:
        """A preset's output has the preset's name."""
        assert parse_output(name) == (name, parse_recipe(name))

    def test_preset_with_words(self) -> None:
        """Words after a preset do not change its name."""
        assert parse_output("amazon quality=85") == ("amazon", parse_recipe("amazon quality=85"))

    @pytest.mark.parametrize(
        "text", ["hero: canvas=1200x1200 background=#eee", "hero:canvas=1200x1200 background=#eee"]
    )
    def test_custom(self, text: str) -> None:
        """A recipe of one's own has a name before a colon."""
        assert parse_output(text) == ("hero", parse_recipe("canvas=1200x1200 background=#eee"))

    def test_preset_under_another_name(self) -> None:
        """A preset may have a name of one's own."""
        assert parse_output("main-1: amazon") == ("main-1", parse_recipe("amazon"))

    @pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
    def test_reserved(self, name: str) -> None:
        """A reserved name is refused, with the others."""
        with pytest.raises(RecipeError, match="reserved, as are"):
            parse_output(f"{name}: amazon")

    @pytest.mark.parametrize("name", ["", "Hero", "a b", "a" * 41, "../x", "é"])
    def test_wrong_name(self, name: str) -> None:
        """A name takes a few characters only, so that it fits into keys and file names."""
        with pytest.raises(RecipeError, match="1 to 40 of a-z, 0-9 and -"):
            parse_output(f"{name}: amazon")

    def test_no_name(self) -> None:
        """A recipe of one's own without a name is refused with an example."""
        with pytest.raises(RecipeError, match=r"put one before it, such as hero: fill=0.9"):
            parse_output("fill=0.9")

    @pytest.mark.parametrize("text", ["web: amazon", "whitebk: web", "amazon: canvas=100x100"])
    def test_name_of_another_preset(self, text: str) -> None:
        """An output is never named as a preset that it is not, in no case of letters."""
        with pytest.raises(RecipeError, match="choose another name"):
            parse_output(text)


class TestParseOutputs:
    def test_several(self) -> None:
        """Outputs by name, in the order given; the same one twice is one."""
        assert list(parse_outputs(["web", "amazon", "web"])) == ["web", "amazon"]

    def test_one_name_twice(self) -> None:
        """Two recipes of one name are refused."""
        with pytest.raises(RecipeError, match="two recipes with the name web"):
            parse_outputs(["web", "web quality=50"])

    def test_too_many(self) -> None:
        """The number of outputs of a job is bounded."""
        with pytest.raises(RecipeError, match="more than 20 outputs"):
            parse_outputs(f"n{number}: web" for number in range(21))
