"""Recipes: parsed, normalised, and refused with the known words."""

import dataclasses

import pytest

from cutout.outputs.recipes import PRESETS, Margin, Recipe, RecipeError, parse_recipe

DEFAULTS = (
    "canvas=2000x2000 fill=0.85 margin=0 align=center background=#ffffff shadow=none enlarge=1 cut=snap "
    "format=jpeg quality=90 max_bytes=none profile=srgb dpi=72"
)


class TestParse:
    def test_defaults(self) -> None:
        """A recipe of one word has the default of every other key, in a fixed order."""
        assert parse_recipe("fill=.85").text == DEFAULTS

    def test_types(self) -> None:
        """Each key has its type."""
        recipe = parse_recipe(
            "canvas=1200x800 margin=40px align=optical background=#EEE shadow=soft enlarge=1.5 cut=float "
            "format=avif quality=70 max_bytes=500KB profile=keep"
        )
        assert recipe == Recipe(
            preset=None,
            canvas=(1200, 800),
            fill=1.0,
            margin=Margin(40.0, "px"),
            align="optical",
            background=(238, 238, 238),
            shadow="soft",
            enlarge=1.5,
            cut="float",
            format="avif",
            quality=70,
            max_bytes=500_000,
            profile="keep",
            dpi=72,
        )
        assert (recipe.extension, recipe.media_type, recipe.mode) == ("avif", "image/avif", "RGB")

    def test_later_words_win(self) -> None:
        """A word after the preset replaces the preset's, and the last of two words of a key counts."""
        recipe = parse_recipe("amazon quality=70 fill=.9 quality=85")
        assert (recipe.preset, recipe.quality, recipe.fill, recipe.max_bytes) == (
            "amazon",
            85,
            0.9,
            10_000_000,
        )

    @pytest.mark.parametrize(
        "text", [*PRESETS, "margin=7.5%", "fill=0.3333333", "amazon margin=3%", "dpi=keep"]
    )
    def test_text_is_an_identity(self, text: str) -> None:
        """The normalised text parses to the same recipe, and has every key."""
        recipe = parse_recipe(text)
        assert parse_recipe(recipe.text) == recipe
        assert parse_recipe(str(recipe)).text == recipe.text
        assert all(f"{field.name}=" in recipe.text for field in dataclasses.fields(recipe)[1:])

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("margin=0%", "margin=0px"),
            ("background=#FFF", "background=#ffffff"),
            ("max_bytes=5MB", "max_bytes=5000000"),
            ("margin=5% fill=.5", "fill=.9 margin=5%"),
            ("whiteBK", "whiteBK fill=1 quality=90"),
        ],
    )
    def test_equal_outputs_have_equal_recipes(self, one: str, other: str) -> None:
        """Different spellings of one output give one normalised text."""
        assert parse_recipe(one).text == parse_recipe(other).text

    @pytest.mark.parametrize(("form", "mode"), [("rgba", "RGBA"), ("mask", "L"), ("whiteBK", "RGB")])
    def test_forms(self, form: str, mode: str) -> None:
        """The endpoint's forms are presets: PNG, unscaled, with the source's profile and density."""
        recipe = parse_recipe(form)
        assert (recipe.canvas, recipe.format, recipe.profile, recipe.dpi) == ("source", "png", "keep", None)
        assert recipe.mode == mode

    def test_white_form_as_jpeg(self) -> None:
        """The white form is a JPEG only if that is asked for."""
        assert parse_recipe("whiteBK format=jpeg").media_type == "image/jpeg"


REFUSED = [
    ("canvas=0x0", "canvas=0x0", "32 to 10000"),
    ("canvas=40000x40000", "40000x40000", "10000"),
    ("canvas=10000x9000", "10000x9000", "80000000 pixels"),
    ("canvas=2000", "canvas=2000", "WxH"),
    ("fill=2", "fill=2", "0.1 to 1"),
    ("fill=nan", "fill=nan", "0.1 to 1"),
    ("fill=1e-1", "fill=1e-1", "0.1 to 1"),
    ("fill=\u0661", "fill=", "0.1 to 1"),
    ("fill=", "fill=", "0.1 to 1"),
    ("margin=60%", "margin=60%", "45%"),
    ("margin=..%", "margin=..%", "45%"),
    ("margin=1000px canvas=2000x2000", "margin=1000px", "less than 1000px"),
    ("align=left", "align=left", "center, optical, bottom, top"),
    ("background=white", "background=white", "#rrggbb"),
    ("background=#ffff", "background=#ffff", "#rrggbb"),
    ("shadow=hard", "shadow=hard", "none, contact, soft"),
    ("enlarge=0.5", "enlarge=0.5", "1 to 8"),
    ("cut=off", "cut=off", "snap, float"),
    ("format=gif", "format=gif", "jpeg, png, webp, avif"),
    ("quality=0", "quality=0", "1 to 100"),
    ("quality=80.5", "quality=80.5", "1 to 100"),
    ("max_bytes=5GB", "max_bytes=5GB", "5MB"),
    ("max_bytes=1", "max_bytes=1", "1KB"),
    ("profile=adobe", "profile=adobe", "srgb, keep"),
    ("dpi=30", "dpi=30", "72 to 1200"),
    ("size=2000", "unknown key 'size'", "canvas, fill, margin"),
    ("ebey", "unknown preset 'ebey'", "amazon, google, walmart, ebay"),
    ("amazon web", "'web' is no key=value", "first word"),
    ("", "empty recipe", "amazon"),
    ("background=transparent", "background=transparent", "format=png"),
    ("canvas=source fill=0.8", "fill has no effect with canvas=source", "leave it out"),
    ("canvas=subject align=top", "align has no effect with canvas=subject", "leave it out"),
    ("format=png quality=80", "quality has no effect with format=png", "leave it out"),
    ("format=webp dpi=300", "dpi has no effect with format=webp", "leave it out"),
    ("mask background=#fff", "background has no effect with mask", "leave it out"),
    ("amazon format=webp", "amazon refuses format=webp", "jpeg, png"),
    ("amazon shadow=soft", "amazon refuses shadow=soft", "none"),
    ("amazon background=#eee", "amazon refuses background=#eeeeee", "#ffffff"),
    ("amazon canvas=400x400", "amazon refuses canvas=400x400", "at least 500"),
    ("amazon canvas=source", "amazon refuses canvas=source", "WxH"),
    ("zalando canvas=subject", "zalando refuses canvas=subject", "WxH"),
    ("amazon fill=0.5", "amazon refuses fill=0.5", "0.85"),
    ("amazon margin=10%", "amazon refuses fill=0.8", "0.85"),
    ("amazon max_bytes=20MB", "amazon refuses max_bytes=20000000", "10MB"),
    ("amazon max_bytes=none", "amazon refuses max_bytes=none", "10MB"),
    ("google fill=0.95", "google refuses fill=0.95", "0.9"),
    ("zalando canvas=2000x2000", "zalando refuses canvas=2000x2000", "0.693"),
    ("rgba background=#fff", "rgba refuses pixels of mode RGB", "RGBA"),
    ("fill=0.9 " * 100, "a recipe of 900 characters", "500"),
]


class TestRefused:
    @pytest.mark.parametrize(("text", "named", "known"), REFUSED)
    def test_refused(self, text: str, named: str, known: str) -> None:
        """The error names what was given and what is known."""
        with pytest.raises(RecipeError) as caught:
            parse_recipe(text)
        assert named in str(caught.value)
        assert known in str(caught.value)

    def test_hidden_characters_are_shown(self) -> None:
        """A control character of a word reaches no terminal."""
        with pytest.raises(RecipeError, match=r"\\x1b"):
            parse_recipe("fi\x1bll=0.5")

    def test_stored_recipe_outlives_its_rule(self) -> None:
        """A stored recipe that the preset's rule refuses now is still parsed without the check."""
        assert parse_recipe("amazon format=webp", check_rule=False).format == "webp"


class TestPresets:
    @pytest.mark.parametrize("name", PRESETS)
    def test_has_date_and_sources(self, name: str) -> None:
        """Each preset with a marketplace's rule names the day and the pages it was read on."""
        preset = PRESETS[name]
        assert preset.name == name
        assert preset.as_of.year >= 2026
        is_ours = parse_recipe(name).canvas in ("source", "subject") or name == "web"
        assert bool(preset.sources) is not is_ours
        assert all(source.startswith("http") for source in preset.sources)
