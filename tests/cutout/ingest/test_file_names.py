"""Templates of the renditions' file names are checked against the manifest before anything is enqueued."""

import pytest

from cutout.outputs.options import OutputOptions, RequestedOutputs, parse_renditions
from cutout.outputs.recipes import RecipeError


def with_file(file: str) -> OutputOptions:
    """Options with one rendition under this template."""
    renditions = parse_renditions(["amazon"], file)
    return OutputOptions(renditions=renditions)


class TestATemplate:
    def test_may_name_columns_of_the_manifest(self) -> None:
        with_file("{Product Code/SKU}.MAIN.{ext}").check_columns(["Product Code/SKU", "Title"])

    def test_with_a_field_that_is_no_column_is_refused_with_those_that_are(self) -> None:
        with pytest.raises(RecipeError, match=r"asni.*asin"):
            with_file("{asni}.MAIN.{ext}").check_columns(["asin"])

    def test_of_two_outputs_must_tell_them_apart(self) -> None:
        with pytest.raises(RecipeError, match="rendition"):
            parse_renditions(["amazon", "web"], "{external_id}.{ext}")

    def test_needs_outputs(self) -> None:
        with pytest.raises(RecipeError, match="without outputs"):
            parse_renditions([], "{external_id}.{ext}")


def test_stored_options_of_a_schedule_are_those_asked_for() -> None:
    """A schedule's options survive their storage, and can be shown as they can be asked for again."""
    asked = RequestedOutputs(renditions=parse_renditions(["amazon quality=85"], "{external_id}.MAIN.{ext}"))
    kept = RequestedOutputs.of_options(asked.as_options())
    assert kept == asked
    assert parse_renditions(kept.texts, kept.file) == asked.renditions
