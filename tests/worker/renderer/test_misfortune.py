"""Renderers among failures: deaths, missing objects, hostile names, a bucket that refuses."""

import threading
import uuid
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session

from cutout.actions.at_once import add_outputs_now
from cutout.enums import ReturnForm
from cutout.outputs.recipes import RecipeError
from cutout.producers.producers import create_producer
from cutout.queue.outputs import ClaimedOutput
from cutout.queue.outputs.ask import OtherRecipeError
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.support.asked import COMMAND
from tests.support.bench import Bench
from tests.support.connect_proxy import ConnectProxy
from tests.support.machine import scaled
from tests.support.proxy import Mode, Proxy
from tests.support.web import serve
from tests.worker.renderer.conftest import MakeRendering, Rendering
from worker.renderer.loop import Renderer
from worker.renderer.store import key_of


def let_leases_end(bench: Bench) -> None:
    """Let all delays and leases of outputs end now."""
    with bench.engine.begin() as connection:
        connection.execute(text("UPDATE outputs SET due_at = now() WHERE state = 'waiting'"))


def spoil(bench: Bench, job_id: uuid.UUID) -> str:
    """Delete what was bought for the job from the bucket; returns its key."""
    key = bench.job(job_id).key or ""
    bench.bucket.delete(key)
    return key


class TestAChildThatDies:
    @pytest.mark.long("three processes start and end for want of memory")
    def test_costs_a_try_and_says_why_after_three(self, make_rendering: MakeRendering, large: bytes) -> None:
        """A child without memory for the picture ends; the others of its renderer go on."""
        rendering = make_rendering(render_memory_bytes=150_000_000)
        job_id = rendering.buy(large)
        for _ in range(3):
            rendering.make_all()
            let_leases_end(rendering.bench)
        output = rendering.outputs(job_id)["rgba"]
        assert (output.state, output.code, output.tries) == ("failed", "OUTPUT_TOO_COSTLY", 3)
        assert "CUTOUT_RENDER_MEMORY_BYTES" in (output.message or "")
        assert rendering.bench.job(job_id).state == "succeeded"


class TestARendererThatDies:
    def test_leaves_its_outputs_to_another(self, rendering: Rendering, photo: bytes) -> None:
        """Its outputs are due again when its lease ends, and a second try is counted."""
        job_id = rendering.buy(photo, ReturnForm.MASK)
        with rendering.bench.engine.begin() as connection:
            connection.execute(
                text("UPDATE outputs SET tries = 1, fence = 1, due_at = now() + interval '60 s'")
            )
        assert rendering.make_all() == 0
        let_leases_end(rendering.bench)
        rendering.make_all()
        output = rendering.outputs(job_id)["mask"]
        assert (output.state, output.tries, output.fence) == ("made", 2, 2)

    def test_each_time_is_given_up_after_three(self, rendering: Rendering, photo: bytes) -> None:
        job_id = rendering.buy(photo, ReturnForm.MASK)
        with rendering.bench.engine.begin() as connection:
            connection.execute(text("UPDATE outputs SET tries = 3"))
        rendering.make_all()
        output = rendering.outputs(job_id)["mask"]
        assert (output.state, output.code) == ("failed", "OUTPUT_KILLS_RENDERER")


class TestWhatWasBought:
    def test_that_is_gone_fails_the_outputs_with_the_remedy(self, rendering: Rendering, photo: bytes) -> None:
        job_id = rendering.buy(photo, ReturnForm.MASK, "web")
        spoil(rendering.bench, job_id)
        rendering.make_all()
        for output in rendering.outputs(job_id).values():
            assert (output.state, output.code) == ("failed", "OUTPUT_BOUGHT_MISSING")
            assert "enqueue the picture again, for a credit" in (output.message or "")
            assert "cutout render JOB --again" in (output.message or "")

    def test_that_was_replaced_is_not_used(self, rendering: Rendering, photo: bytes, large: bytes) -> None:
        job_id = rendering.buy(photo, ReturnForm.MASK)
        key = spoil(rendering.bench, job_id)
        rendering.bench.bucket.put_pieces([large], key=key, media_type="image/png")
        rendering.make_all()
        assert rendering.outputs(job_id)["mask"].code == "OUTPUT_BOUGHT_MISSING"


class TestASourceOnTheWeb:
    @pytest.fixture
    def shop(self, large: bytes) -> Iterator[dict[str, bytes | int]]:
        """The pages of a web server, which a test may change."""
        pages: dict[str, bytes | int] = {"/a.jpg": large}
        with serve(pages) as host:
            pages["host"] = host.encode()
            yield pages

    def test_that_fails_for_a_while_is_waited_for(
        self, make_rendering: MakeRendering, shop: dict[str, bytes | int]
    ) -> None:
        """Two tries are spent on it; then the outputs are made at the sent size, and say so."""
        host = bytes(shop["host"]).decode()
        rendering = make_rendering(source_private_hosts=(host.partition(":")[0],))
        job_id = rendering.buy(f"http://{host}/a.jpg")
        shop["/a.jpg"] = 503
        rendering.make_all()
        output = rendering.outputs(job_id)["rgba"]
        assert (output.state, output.code) == ("waiting", "OUTPUT_SOURCE_UNAVAILABLE")
        for _ in range(3):
            let_leases_end(rendering.bench)
            rendering.make_all()
        output = rendering.outputs(job_id)["rgba"]
        assert (output.state, output.factor) == ("made", 1.0)
        assert "503" in (output.note or "")

    def test_that_fails_does_not_fail_outputs_at_their_last_try_for_one_at_its_first(
        self, make_rendering: MakeRendering, shop: dict[str, bytes | int]
    ) -> None:
        """Another output of the picture was asked for later: it waits, and the older one is made."""
        host = bytes(shop["host"]).decode()
        rendering = make_rendering(source_private_hosts=(host.partition(":")[0],))
        job_id = rendering.buy(f"http://{host}/a.jpg", ReturnForm.MASK)
        shop["/a.jpg"] = 503
        with rendering.bench.engine.begin() as connection:
            connection.execute(text("UPDATE outputs SET tries = 2 WHERE name = 'mask'"))
        rendering.make_all()
        made = rendering.outputs(job_id)
        assert (made["mask"].state, made["mask"].factor) == ("made", 1.0), made["mask"].code
        assert (made["score"].state, made["score"].tries) == ("waiting", 1)

    def test_that_comes_back_is_used(
        self, make_rendering: MakeRendering, shop: dict[str, bytes | int], large: bytes
    ) -> None:
        host = bytes(shop["host"]).decode()
        rendering = make_rendering(source_private_hosts=(host.partition(":")[0],))
        job_id = rendering.buy(f"http://{host}/a.jpg")
        shop["/a.jpg"] = 503
        rendering.make_all()
        shop["/a.jpg"] = large
        let_leases_end(rendering.bench)
        rendering.make_all()
        assert (rendering.outputs(job_id)["rgba"].factor or 0) > 1


class TestABucketThatRefuses:
    def test_uses_up_no_try(
        self,
        settings: Settings,
        rendering: Rendering,
        proxy: Proxy,
        photo: bytes,
    ) -> None:
        job_id = rendering.buy(photo, ReturnForm.MASK)
        refused = settings.model_copy(update={"s3_endpoint_url": proxy.url})
        bucket = Bucket(refused, patient=False)
        proxy.set(Mode.REFUSE)
        away = Renderer(refused, rendering.bench.engine, bucket, processes=1)
        away.serve_once()
        output = rendering.outputs(job_id)["mask"]
        assert (output.state, output.tries, output.code) == ("waiting", 0, "OUTPUT_STORAGE_UNAVAILABLE")
        let_leases_end(rendering.bench)
        rendering.make_all()
        output = rendering.outputs(job_id)["mask"]
        assert (output.state, output.code) == ("made", None)


class TestSeveralRenderers:
    @pytest.mark.long("four renderers with a process each")
    def test_make_each_output_once(self, settings: Settings, rendering: Rendering, photo: bytes) -> None:
        """Four at once: no output is made twice, none is left."""
        jobs = [rendering.buy(photo + bytes([n]), ReturnForm.MASK, external_id=str(n)) for n in range(6)]
        made: list[int] = []

        def work() -> None:
            renderer = Renderer(settings, rendering.bench.engine, rendering.bench.bucket, processes=1)
            while renderer.serve_once():
                made.append(1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(scaled(60.0))
        outputs = [output for job_id in jobs for output in rendering.outputs(job_id).values()]
        assert [(output.state, output.tries) for output in outputs] == [("made", 1)] * len(outputs)
        assert len(made) == len(jobs)

    def test_take_producers_in_turn(self, rendering: Rendering, photo: bytes) -> None:
        """A producer with many outputs does not delay the one output of another."""
        with Session(rendering.bench.engine) as session, session.begin():
            many, one = (create_producer(session, name)[0].id for name in ("many", "one"))
        for n in range(4):
            rendering.buy(photo + bytes([n]), ReturnForm.MASK, producer_id=many, external_id=str(n))
        job_id = rendering.buy(photo, ReturnForm.MASK, producer_id=one)
        rendering.renderer.serve_once()
        rendering.renderer.serve_once()
        assert rendering.outputs(job_id)["mask"].state == "made"


class TestNamesOfFiles:
    @pytest.mark.parametrize("gtin", ["../../etc/passwd", "a/b", "\u202egpj", "x" * 400, "", None])
    def test_from_outside_stay_in_the_folder_of_their_job(self, gtin: str | None) -> None:
        batch_id, job_id = uuid.uuid4(), uuid.uuid4()
        output = ClaimedOutput(
            job_id,
            "web",
            "web",
            "{gtin}.{rendition}.{ext}",
            tries=1,
            fence=1,
            batch_id=batch_id,
            producer_id=None,
            external_id="SKU",
            details=None if gtin is None else {"gtin": gtin},
            return_form=ReturnForm.RGBA,
            bought_key="cutouts/SKU.png",
        )
        folder = f"outputs/{batch_id}/{job_id}/web/"
        key = key_of(output, "webp")
        assert key.startswith(folder)
        assert "/" not in key.removeprefix(folder)
        assert ".." not in key.split("/")

    def test_by_a_column_that_the_job_lacks_have_its_id(self, rendering: Rendering, photo: bytes) -> None:
        """No renderer ends of it."""
        job_id = rendering.buy(photo, ReturnForm.RGBA, "web", file="{gtin}.{ext}")
        rendering.make_all()
        output = rendering.outputs(job_id)["web"]
        assert output.key == f"outputs/{rendering.bench.job(job_id).batch_id}/{job_id}/web/{job_id}.webp"

    def test_that_are_equal_take_no_other_files_place(self, rendering: Rendering, photo: bytes) -> None:
        """A later rendition by a template that gives the first one's name."""
        job_id = rendering.buy(photo, ReturnForm.RGBA, "amazon", file="{external_id}.{ext}")
        batch_id = rendering.bench.job(job_id).batch_id
        assert batch_id
        later = {"ebay": {"recipe": "ebay", "file": "{external_id}.{ext}"}}
        assert add_outputs_now(rendering.bench.engine, COMMAND, batch_id, later) == 1
        rendering.make_all()
        outputs = rendering.outputs(job_id)
        sizes = {name: rendering.picture(outputs[name]).size for name in ("amazon", "ebay")}
        assert sizes == {"amazon": (2000, 2000), "ebay": (1600, 1600)}

    def test_are_never_those_of_another_job(self, rendering: Rendering, photo: bytes) -> None:
        """A picture of two products: the second has no file by the first one's number."""
        rendering.buy(photo, ReturnForm.RGBA, "web", file="{gtin}.{ext}", details={"gtin": "4006381333931"})
        rendering.make_all()
        second = rendering.buy(photo, ReturnForm.RGBA, "web", external_id="OTHER")
        rendering.make_all()
        assert (rendering.outputs(second)["web"].key or "").endswith("/OTHER.web.webp")


class TestRenditionsAskedForLater:
    def test_with_names_by_an_unknown_column_are_refused(self, rendering: Rendering, photo: bytes) -> None:
        """The known ones are named."""
        job_id = rendering.buy(photo, details={"asin": "B0"})
        batch_id = rendering.bench.job(job_id).batch_id
        assert batch_id
        with pytest.raises(RecipeError, match=r"unknown field \{ASN\} .* form, asin"):
            add_outputs_now(
                rendering.bench.engine, COMMAND, batch_id, {"web": {"recipe": "web", "file": "{ASN}.{ext}"}}
            )
        assert (
            add_outputs_now(
                rendering.bench.engine, COMMAND, batch_id, {"web": {"recipe": "web", "file": "{asin}.{ext}"}}
            )
            == 1
        )

    def test_cost_no_call(self, rendering: Rendering, photo: bytes) -> None:
        job_id = rendering.buy(photo)
        batch_id = rendering.bench.job(job_id).batch_id
        assert batch_id
        wanted = {"web": {"recipe": "web"}}
        assert add_outputs_now(rendering.bench.engine, COMMAND, batch_id, wanted) == 1
        assert add_outputs_now(rendering.bench.engine, COMMAND, batch_id, wanted) == 0
        rendering.make_all()
        assert rendering.outputs(job_id)["web"].state == "made"
        assert len(rendering.bench.attempts(job_id)) == 1

    def test_reach_jobs_that_succeed_later(self, rendering: Rendering, photo: bytes) -> None:
        job_id = rendering.bench.enqueue(photo)
        batch_id = rendering.bench.job(job_id).batch_id
        assert batch_id
        assert add_outputs_now(rendering.bench.engine, COMMAND, batch_id, {"web": {"recipe": "web"}}) == 0
        rendering.bench.work()
        assert "web" in rendering.outputs(job_id)

    def test_named_like_the_return_form_need_another_name(self, rendering: Rendering, photo: bytes) -> None:
        """The form was made by its own recipe; a request that changed nothing would hide that."""
        batch_id = rendering.bench.job(rendering.buy(photo, ReturnForm.WHITE_BACKGROUND)).batch_id
        assert batch_id
        with pytest.raises(OtherRecipeError, match="whitebk-2"):
            add_outputs_now(
                rendering.bench.engine, COMMAND, batch_id, {"whiteBK": {"recipe": "whiteBK format=jpeg"}}
            )

    def test_by_another_recipe_need_another_name(self, rendering: Rendering, photo: bytes) -> None:
        batch_id = rendering.bench.job(rendering.buy(photo)).batch_id
        assert batch_id
        add_outputs_now(rendering.bench.engine, COMMAND, batch_id, {"web": {"recipe": "web"}})
        with pytest.raises(OtherRecipeError, match="web-2"):
            add_outputs_now(rendering.bench.engine, COMMAND, batch_id, {"web": {"recipe": "web quality=50"}})
        with pytest.raises(OtherRecipeError, match=r"files are named by default; .*'web-2: web'"):
            add_outputs_now(
                rendering.bench.engine, COMMAND, batch_id, {"web": {"recipe": "web", "file": "{job}.{ext}"}}
            )


class TestAWebhook:
    def test_says_when_all_outputs_of_a_job_are_final(self, rendering: Rendering, photo: bytes) -> None:
        job_id = rendering.buy(photo, ReturnForm.MASK, "web")
        rendering.bench.change(job_id, "webhook_url = 'https://shop.example/hook'")
        rendering.make_all()
        with rendering.bench.engine.connect() as connection:
            types = connection.execute(text("SELECT type, payload FROM deliveries")).all()
        assert [kind for kind, _ in types] == ["job.rendered"]
        assert '"name" : "web"' in types[0].payload


class TestAFileNameWithAColumn:
    def test_that_the_job_does_not_have_has_the_jobs_id(self, rendering: Rendering, photo: bytes) -> None:
        """A template asked for of a batch whose rows have other columns: no output fails for it."""
        file = "{nope}.{rendition}.{ext}"
        job_id = rendering.buy(photo, ReturnForm.RGBA, "web", file=file, details={"gtin": "1"})
        rendering.make_all()
        output = rendering.outputs(job_id)["web"]
        assert output.state == "made"
        assert (output.key or "").endswith(f"/{job_id}.web.webp")


class TestOneNameForTwoFiles:
    def test_of_renditions_asked_for_one_after_the_other_is_refused(
        self, rendering: Rendering, photo: bytes
    ) -> None:
        batch_id = rendering.bench.job(rendering.buy(photo)).batch_id
        assert batch_id
        file = "{job}.{ext}"
        add_outputs_now(rendering.bench.engine, COMMAND, batch_id, {"web": {"recipe": "web", "file": file}})
        with pytest.raises(OtherRecipeError, match="rendition"):
            add_outputs_now(
                rendering.bench.engine,
                COMMAND,
                batch_id,
                {"web-2": {"recipe": "web quality=50", "file": file}},
            )

    def test_by_other_templates_is_of_two_objects(self, rendering: Rendering, photo: bytes) -> None:
        """Each output has a folder of its own: no file replaces another, whatever the templates give."""
        job_id = rendering.buy(photo)
        batch_id = rendering.bench.job(job_id).batch_id
        assert batch_id
        add_outputs_now(
            rendering.bench.engine, COMMAND, batch_id, {"web": {"recipe": "web", "file": "SKU.{job}.{ext}"}}
        )
        other = {"recipe": "web quality=50", "file": "{external_id}.{ext}"}
        add_outputs_now(rendering.bench.engine, COMMAND, batch_id, {"web-2": other})
        rendering.make_all()
        made = rendering.outputs(job_id)
        assert (made["web"].state, made["web-2"].state) == ("made", "made")
        web = made["web"]
        assert rendering.bench.bucket.holds(
            web.key or "", sha256=web.sha256 or b"", size_bytes=web.size_bytes or 0
        )


class TestASourceBehindTheEgressProxy:
    @pytest.mark.parametrize(
        ("way", "fence", "code", "tries"),
        [
            (502, 0, "EGRESS_AWAY", 0),
            (502, 360, "OUTPUT_SOURCE_UNAVAILABLE", 1),
            (407, 360, "EGRESS_AWAY", 0),
            (403, 0, "OUTPUT_SOURCE_UNAVAILABLE", 1),
        ],
    )
    def test_that_is_not_reached_is_not_waited_for_without_end(
        self, make_rendering: MakeRendering, large: bytes, *, way: int, fence: int, code: str, tries: int
    ) -> None:
        """A try is used if the proxy refuses the server, or if it has reached nobody for an hour."""
        with ConnectProxy({}) as proxy:
            rendering = make_rendering(egress_proxy=SecretStr(proxy.url))
            job_id = rendering.buy(large)
            with rendering.bench.engine.begin() as connection:
                connection.execute(text("UPDATE jobs SET source = 'https://93.184.216.34/a.jpg'"))
                connection.execute(text("UPDATE outputs SET fence = :fence"), {"fence": fence})
            proxy.way = way
            rendering.make_all()
            output = rendering.outputs(job_id)["rgba"]
            assert (output.state, output.code, output.tries) == ("waiting", code, tries)
