import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutout.enums import ReturnForm
from cutout.storage.object_keys import LONGEST_NAME, cutout_key, safe_name, source_key

DEFAULT = "cutouts/{batch}/{external_id}.{ext}"
BATCH = uuid.UUID(int=7)


def key(
    external_id: str | None,
    form: ReturnForm = ReturnForm.RGBA,
    template: str = DEFAULT,
    *,
    bought: ReturnForm | None = None,
) -> str:
    """The key of a job's cutout; it was bought as its own form without `bought`."""
    return cutout_key(
        template,
        job_id=uuid.UUID(int=1),
        batch_id=BATCH,
        external_id=external_id,
        return_form=form,
        bought_form=bought or form,
        extension="png",
    )


# An external id, a return form, and whether it is derived.
JOBS = st.tuples(st.text(min_size=1), st.sampled_from(ReturnForm), st.booleans())


def as_bought(job: tuple[str, ReturnForm, bool]) -> tuple[str, ReturnForm, ReturnForm]:
    external_id, form, derived = job
    return external_id, form, ReturnForm.RGBA if derived else form


def key_of(job: tuple[str, ReturnForm, bool]) -> str:
    external_id, form, bought = as_bought(job)
    return key(external_id, form, bought=bought)


class TestACutoutsKey:
    def test_shows_a_harmless_external_id_as_it_is(self) -> None:
        """A safe id is in the key unchanged."""
        assert key("SKU-4471") == f"cutouts/{BATCH}/SKU-4471.png"

    def test_tells_the_forms_of_one_picture_apart(self) -> None:
        """Four forms of one external id have four keys."""
        assert len({key("SKU", form) for form in ReturnForm}) == 4

    def test_says_what_was_bought_for_another_form(self) -> None:
        """RGBA bought for a mask is in neither the mask's nor the RGBA job's place."""
        rgba, mask = ReturnForm.RGBA, ReturnForm.MASK
        assert key("SKU", mask, bought=rgba) == f"cutouts/{BATCH}/SKU.mask.rgba.png"
        assert key("SKU", mask, "{return_form}/{external_id}.{ext}", bought=rgba) == "mask.rgba/SKU.png"
        assert key("SKU", rgba, bought=rgba) == key("SKU", rgba)

    def test_uses_the_form_field_of_a_template_that_has_one(self) -> None:
        """With {return_form} in the template the name has no form."""
        assert key("SKU", ReturnForm.MASK, "{return_form}/{external_id}.{ext}") == "mask/SKU.png"

    def test_goes_by_the_job_where_there_is_no_external_id(self) -> None:
        """Without an external id the job's own id makes the key unique."""
        assert key(None) == f"cutouts/{BATCH}/{uuid.UUID(int=1)}.png"

    @pytest.mark.parametrize(
        "hostile", ["../../etc/passwd", "..", ".", "a/../b", "/abs", "a\\..\\b", "%2e%2e/x"]
    )
    def test_never_climbs(self, hostile: str) -> None:
        """An external id cannot leave its batch's folder."""
        folder, _, name = key(hostile).rpartition("/")
        assert folder == f"cutouts/{BATCH}"
        assert not name.startswith(".")

    @given(st.text(min_size=1, max_size=300))
    def test_is_always_a_short_plain_name(self, external_id: str) -> None:
        """The name of any id has only safe characters and a bounded length."""
        name = safe_name(external_id)
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        assert len(name) <= LONGEST_NAME + 17

    @given(JOBS, JOBS)
    def test_is_never_shared_by_two_jobs_of_a_batch(
        self, one: tuple[str, ReturnForm, bool], other: tuple[str, ReturnForm, bool]
    ) -> None:
        """Two different pairs of id and form have two different keys, whichever form was bought for each."""
        assert (as_bought(one) == as_bought(other)) == (key_of(one) == key_of(other))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (("SKU.mask", ReturnForm.RGBA), ("SKU", ReturnForm.MASK)),
            (("SKU.mask.rgba", ReturnForm.RGBA), ("SKU", ReturnForm.MASK)),
            (("SKU.mask", ReturnForm.MASK), ("SKU", ReturnForm.MASK)),
            (("a b", ReturnForm.RGBA), ("a_b", ReturnForm.RGBA)),
            ((safe_name("a b"), ReturnForm.RGBA), ("a b", ReturnForm.RGBA)),
            (("x" * 200, ReturnForm.RGBA), ("x" * 201, ReturnForm.RGBA)),
        ],
    )
    def test_is_not_shared_by_ids_made_to_collide(
        self, one: tuple[str, ReturnForm], other: tuple[str, ReturnForm]
    ) -> None:
        """Ids that look like derived names get different names too."""
        jobs = [(*each, derived) for each in (one, other) for derived in (False, True)]
        assert len({key_of(job) for job in jobs}) == len({as_bought(job) for job in jobs})


def test_a_source_is_kept_by_its_content() -> None:
    """The key of a source is its hash under a prefix of two digits."""
    assert source_key("ab" + "0" * 62) == f"sources/ab/ab{'0' * 62}"
