import pytest

from cutout.enums import Priority, ReturnForm
from cutout.manifests import field_rules
from cutout.manifests.field_rules import external_id_fault, source_fault
from cutout.queue import enqueue
from tests.cutout.manifests.records import only_reject, pictures, read, rejects

HEADER = "external_id,source,return_form,priority\n"


class TestAnExternalId:
    @pytest.mark.parametrize(
        "value", ["A", "ä" * 255, "SKU 1/2", "\u06cc\u200c\u062e", "\U0001f468\u200d\U0001f467"]
    )
    def test_may_be_any_text_of_255_characters(self, value: str) -> None:
        """Rare letters, blanks and emoji are valid."""
        assert external_id_fault(value) is None

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("", "is empty; give each picture its own id"),
            ("x" * 256, "has 256 characters; use 1 to 255"),
            ("a\x07b", "has the control character U+0007 at position 2; remove it"),
            ("a\nb", "has the control character U+000A at position 2; remove it"),
            ("ab\x85c", "has the control character U+0085 at position 3; remove it"),
            ("\ud800", "has the control character U+D800 at position 1; remove it"),
        ],
    )
    def test_must_be_storable(self, value: str, reason: str) -> None:
        """Too short, too long, and characters that are invisible or cannot be stored."""
        assert external_id_fault(value) == reason


class TestASource:
    @pytest.mark.parametrize("value", ["a.jpg", "bilder/stiefel links.jpg", "s3://b/k", "x" * 2048])
    def test_may_be_anything_that_names_something(self, value: str) -> None:
        """The caller checks its meaning."""
        assert source_fault(value) is None

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("", "is empty; name the picture's address or file"),
            ("x" * 2049, "has 2049 characters; use at most 2048"),
            ("a\tb", "has the control character U+0009 at position 2; remove it"),
        ],
    )
    def test_must_be_storable(self, value: str, reason: str) -> None:
        """Empty, too long, control characters."""
        assert source_fault(value) == reason


class TestTheLimits:
    def test_are_those_of_a_job(self) -> None:
        """Every valid value can be enqueued."""
        assert (field_rules.LONGEST_EXTERNAL_ID, field_rules.LONGEST_SOURCE) == (
            enqueue.LONGEST_EXTERNAL_ID,
            enqueue.LONGEST_SOURCE,
        )


class TestWords:
    def test_are_those_of_the_jobs(self) -> None:
        """Each return form and priority is read by its word."""
        rows = [f"{form}-{word},a.jpg,{form},{word}" for form in ReturnForm for word in ("bulk", "normal")]
        found = pictures(read(HEADER + "\n".join(rows)))
        assert {picture.return_form for picture in found} == set(ReturnForm)
        assert {picture.priority for picture in found} == {Priority.BULK, Priority.NORMAL}

    def test_may_be_left_out(self) -> None:
        """An empty cell leaves the value to the caller."""
        (picture,) = pictures(read(HEADER + "A,a.jpg,,"))
        assert (picture.return_form, picture.priority) == (None, None)

    def test_may_be_anothers_columns(self) -> None:
        """Mapped to nothing, their words are kept with the job."""
        (picture,) = pictures(
            read(HEADER + "A,a.jpg,30 days,High", columns={"priority": "", "return_form": ""})
        )
        assert (picture.return_form, picture.priority) == (None, None)
        assert picture.metadata == {"return_form": "30 days", "priority": "High"}

    def test_are_rejected_if_unknown(self) -> None:
        """The reject names the value and the valid words."""
        (form, priority) = rejects(read(HEADER + "A,a.jpg,jpeg,now"))
        assert (form.column, form.value) == ("return_form", "jpeg")
        assert form.reason == (
            "is not one of rgba, mask, whiteBK, crop; use one of them, leave it empty, or if the column"
            " is your own, say so with `--map return_form=`"
        )
        assert (priority.column, priority.value) == ("priority", "now")
        assert priority.reason == (
            "is not one of interactive, normal, bulk; use one of them, leave it empty, or if the column"
            " is your own, say so with `--map priority=`"
        )


class TestAReject:
    def test_shows_200_characters_of_the_value(self) -> None:
        """A rejects file stays readable, whatever a cell contains."""
        reject = only_reject(HEADER + f"{'x' * 9000},a.jpg,,")
        assert reject.value == "x" * 200
        assert reject.reason == "has 9000 characters; use 1 to 255"
