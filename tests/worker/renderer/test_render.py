"""Renderers make the outputs of what was bought: full size, forms, renditions and scores."""

import io

import pytest
from PIL import Image, ImageChops
from sqlalchemy import text

from cutout.enums import ReturnForm
from cutout.outputs import versions
from cutout.outputs.recipes import RECIPE_VERSION
from cutout.outputs.score.rules import SCORE_VERSION
from tests.worker.renderer.conftest import Rendering


class TestAJobSentAsItIs:
    def test_needs_no_output_for_rgba(self, rendering: Rendering, photo: bytes) -> None:
        """The bought picture is as large as the source: only its score is made."""
        job_id = rendering.buy(photo)
        rendering.make_all()
        assert {name: output.state for name, output in rendering.outputs(job_id).items()} == {"score": "made"}

    @pytest.mark.parametrize("form", [ReturnForm.MASK, ReturnForm.WHITE_BACKGROUND, ReturnForm.CROP])
    def test_gets_its_form_from_the_bought_rgba(
        self, rendering: Rendering, photo: bytes, form: ReturnForm
    ) -> None:
        job_id = rendering.buy(photo, form)
        rendering.make_all()
        job, output = rendering.bench.job(job_id), rendering.outputs(job_id)[form]
        bought = Image.open(io.BytesIO(rendering.bench.bucket.read(job.key or "", max_bytes=50_000_000)))
        assert bought.mode == "RGBA"
        made = rendering.picture(output)
        assert output.state == "made"
        if form is ReturnForm.MASK:
            assert ImageChops.difference(made, bought.getchannel("A")).getbbox() is None
        elif form is ReturnForm.CROP:
            assert made.size == bought.crop(bought.getchannel("A").getbbox()).size
        else:
            assert (made.mode, made.size) == ("RGB", bought.size)


class TestALargeSource:
    def test_gets_a_cutout_of_its_own_size(self, rendering: Rendering, large: bytes) -> None:
        job_id = rendering.buy(large)
        rendering.make_all()
        output, source = rendering.outputs(job_id)["rgba"], Image.open(io.BytesIO(large))
        assert (output.state, output.note) == ("made", None), output.message
        assert (output.width, output.height) == source.size
        assert output.factor == pytest.approx(source.width / 1999, rel=0.01)
        assert rendering.picture(output).mode == "RGBA"
        assert output.bought_sha256 == rendering.bench.job(job_id).sha256

    def test_names_what_the_object_is_derived_from(self, rendering: Rendering, large: bytes) -> None:
        job_id = rendering.buy(large)
        rendering.make_all()
        key = rendering.outputs(job_id)["rgba"].key or ""
        bucket = rendering.bench.bucket
        head = bucket._client.head_object(Bucket=bucket.name, Key=key)
        job = rendering.bench.job(job_id)
        assert job.sha256
        assert head["Metadata"]["derived-from"] == job.sha256.hex()
        assert head["Metadata"]["recipe"] == "rgba"

    def test_keeps_the_sent_size_if_that_was_asked_for(self, rendering: Rendering, large: bytes) -> None:
        job_id = rendering.buy(large, full_size=False)
        rendering.make_all()
        assert "rgba" not in rendering.outputs(job_id)

    def test_that_changed_since_is_not_enlarged(self, rendering: Rendering, large: bytes) -> None:
        """The bytes behind the address are others now: it is said, and the sent size is delivered."""
        job_id = rendering.buy(large, ReturnForm.MASK)
        source = rendering.bench.job(job_id).source
        key = rendering.bench.bucket.key_of(source) or ""
        rendering.bench.bucket.put_pieces([large[:-2] + b"\0\0"], key=key, media_type="image/jpeg")
        rendering.make_all()
        output = rendering.outputs(job_id)["mask"]
        assert output.state == "made"
        assert output.factor == 1.0
        assert "changed" in (output.note or "")

    def test_that_is_gone_is_not_enlarged(self, rendering: Rendering, large: bytes) -> None:
        job_id = rendering.buy(large)
        key = rendering.bench.bucket.key_of(rendering.bench.job(job_id).source) or ""
        rendering.bench.bucket.delete(key)
        rendering.make_all()
        outputs = rendering.outputs(job_id)
        assert outputs["rgba"].key == rendering.bench.job(job_id).key
        assert "SOURCE_MISSING" in (outputs["rgba"].note or "")
        assert outputs["score"].state == "failed"


class TestRenditions:
    def test_named_like_the_return_form_take_its_place(self, rendering: Rendering, photo: bytes) -> None:
        """The white form is a JPEG if that is asked for."""
        job_id = rendering.buy(photo, ReturnForm.WHITE_BACKGROUND, "whiteBK format=jpeg")
        rendering.make_all()
        output = rendering.outputs(job_id)["whiteBK"]
        assert (output.state, output.media_type) == ("made", "image/jpeg")

    def test_meet_their_rules(self, rendering: Rendering, photo: bytes) -> None:
        job_id = rendering.buy(photo, ReturnForm.RGBA, "amazon", "hero: canvas=400x300 background=#eee")
        rendering.make_all()
        outputs = rendering.outputs(job_id)
        hero = rendering.picture(outputs["hero"])
        assert (hero.format, hero.size) == ("JPEG", (400, 300))
        assert outputs["hero"].problems == []
        assert outputs["amazon"].state == "made"
        assert outputs["amazon"].measures is not None

    def test_of_reused_cutouts_are_made_once(self, rendering: Rendering, photo: bytes) -> None:
        first = rendering.buy(photo, ReturnForm.RGBA, "web")
        rendering.make_all()
        second = rendering.buy(photo, ReturnForm.RGBA, "web")
        rendering.make_all()
        one, two = rendering.outputs(first)["web"], rendering.outputs(second)["web"]
        assert (two.state, two.key, two.sha256) == ("made", one.key, one.sha256)
        assert two.cpu_seconds == 0

    def test_with_a_file_name_of_their_own_are_copied(self, rendering: Rendering, photo: bytes) -> None:
        rendering.buy(photo, ReturnForm.RGBA, "web")
        rendering.make_all()
        named = rendering.buy(
            photo, ReturnForm.RGBA, "web", file="{gtin}.MAIN.{ext}", details={"gtin": "4006381333931"}
        )
        rendering.make_all()
        assert (rendering.outputs(named)["web"].key or "").endswith("/4006381333931.MAIN.webp")

    def test_of_one_picture_are_made_together(self, rendering: Rendering, large: bytes) -> None:
        """All outputs of a purchase are claimed at once, whichever jobs asked for them."""
        jobs = [rendering.buy(large, form, external_id=form) for form in ReturnForm]
        assert rendering.make_all() == 1
        states = [output.state for job_id in jobs for output in rendering.outputs(job_id).values()]
        assert states == ["made"] * len(states)
        assert sum(job.reused for job in map(rendering.bench.job, jobs)) == 3


class TestScores:
    def test_have_reasons(self, rendering: Rendering, photo: bytes) -> None:
        job_id = rendering.buy(photo)
        rendering.make_all()
        measures = rendering.outputs(job_id)["score"].measures or {}
        assert 0 <= measures["score"] <= 1
        assert isinstance(measures["reasons"], list)

    def test_of_other_rules_are_not_used_again(self, rendering: Rendering, photo: bytes) -> None:
        """Rules have a version of their own: a change of them alone makes scores anew."""
        rendering.buy(photo, external_id="A", reuse=False)
        rendering.make_all()
        second = rendering.buy(photo, external_id="B", reuse=False)
        rendering.make_all()
        assert rendering.outputs(second)["score"].cpu_seconds == 0
        with rendering.bench.engine.begin() as connection:
            connection.execute(
                text("UPDATE outputs SET version = :old WHERE name = 'score'"), {"old": SCORE_VERSION - 1}
            )
        third = rendering.buy(photo, external_id="C", reuse=False)
        rendering.make_all()
        score = rendering.outputs(third)["score"]
        assert (score.state, score.version) == ("made", SCORE_VERSION)
        assert score.cpu_seconds

    def test_have_their_own_version(
        self, rendering: Rendering, photo: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(versions, "SCORE_VERSION", 41)
        job_id = rendering.buy(photo, ReturnForm.RGBA, "web")
        rendering.make_all()
        outputs = rendering.outputs(job_id)
        assert (outputs["score"].version, outputs["web"].version) == (41, RECIPE_VERSION)
