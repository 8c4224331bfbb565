import hashlib
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from cutout.enums import Forms, ReturnForm
from cutout.ingest import Estimate, IngestOptions, ReadOptions, estimate, open_source
from cutout.ingest.estimate import Sample
from cutout.models import RESULTS, SOURCES
from cutout.outputs.options import OutputOptions
from cutout.queue.reuse.identity import Recipe
from cutout.settings import Settings
from cutout.storage import Bucket

WEB = "https://shop.example/a.jpg"
SHA = hashlib.sha256(b"picture").digest()


@pytest.fixture
def estimated(engine: Engine, bucket: Bucket, settings: Settings) -> Callable[..., Estimate]:
    def run(path: Path, *, reuse: bool = True, **options: Any) -> Estimate:
        ingest_options, recipe = (
            IngestOptions("test", **options),
            Recipe("e", 1, bucket.name) if reuse else None,
        )
        with closing(open_source(str(path), ReadOptions(), settings, bucket)) as source:
            return estimate(
                engine, bucket, source, ingest_options, recipe, on_reject=lambda _: None, watch=lambda _: None
            )

    return run


def bought(engine: Engine, bucket: Bucket, sha256: bytes, form: str = "rgba", *, stored: bool = True) -> None:
    """A bought result in the bucket, or one whose job is under way."""
    values = {
        "source_sha256": sha256,
        "bought_form": form,
        "endpoint": "e",
        "preparation": 1,
        "bucket": bucket.name,
        "scope": "",
    }
    key = f"cutouts/{sha256.hex()}.{form}"
    if stored:
        bucket.put_cutout(b"cutout", key=key, media_type="image/png", metadata={})
    of_it = {"key": key, "sha256": hashlib.sha256(b"cutout").digest(), "size_bytes": 6}
    done = of_it | {"stored_at": text("now()")} if stored else {}
    with engine.begin() as connection:
        connection.execute(insert(RESULTS).values(buyer=uuid.uuid4(), **values, **done))


@pytest.fixture
def of_one_bought(
    estimated: Callable[..., Estimate], written: Callable[[str], Path], engine: Engine, bucket: Bucket
) -> Callable[[], Estimate]:
    """Estimates a manifest of one picture, which was bought before."""
    bought(engine, bucket, SHA)
    path = written("external_id,source\na,a.jpg\n")
    return lambda: estimated(path)


class TestAnEstimate:
    def test_counts_a_reason_once_wherever_it_occurs(
        self, estimated: Callable[..., Estimate], written: Callable[[str], Path]
    ) -> None:
        """Neither the value nor its position makes another reason."""
        rows = [f"{n},https://x.example/{'a' * n} b.jpg" for n in range(20)]
        reasons = estimated(written("\n".join(["external_id,source", *rows]) + "\n")).reasons
        assert reasons == {"the source … has a blank": 20}

    def test_stores_nothing(
        self,
        estimated: Callable[..., Estimate],
        written: Callable[[str], Path],
        engine: Engine,
        bucket: Bucket,
    ) -> None:
        """Neither jobs nor objects are stored; the expected ones are counted."""
        found = estimated(written(f"external_id,source\na,a.jpg\nb,{WEB}\nb,{WEB}\nc,\nd,none.jpg\n"))
        counts = found.counts
        assert (counts.pictures, counts.jobs, counts.rejects, counts.duplicates) == (5, 2, 2, 1)
        assert (found.bought, found.same_picture, found.calls) == (0, 0, 2)
        assert found.reasons.total() == 2
        assert bucket.keys("") == []
        with engine.connect() as connection:
            for table in ("jobs", "batches", "ingests"):
                assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0  # noqa: S608

    def test_finds_what_was_bought_before(
        self,
        estimated: Callable[..., Estimate],
        written: Callable[[str], Path],
        engine: Engine,
        bucket: Bucket,
    ) -> None:
        """Found by a file's bytes, or by what a URL held when it was last fetched, in the wanted form."""
        with engine.begin() as connection:
            connection.execute(
                insert(SOURCES).values(
                    address_sha256=hashlib.sha256(WEB.encode()).digest(), content_sha256=b"web"
                )
            )
        path = written(f"external_id,source\na,a.jpg\nb,{WEB}\nc,{WEB}?other\n")
        bought(engine, bucket, SHA, "mask")
        bought(engine, bucket, b"web", stored=False)
        assert (estimated(path).bought, estimated(path).calls) == (0, 3)
        bought(engine, bucket, SHA)
        assert (estimated(path).bought, estimated(path).calls) == (1, 2)
        bought(engine, bucket, b"web", "mask")
        assert estimated(path, forms=("mask",)).bought == 1
        found = estimated(path, forms=("mask",), outputs=OutputOptions(Forms.BOUGHT))
        assert (found.bought, found.calls) == (2, 1)
        assert estimated(path, reuse=False).calls == 3

    @pytest.mark.parametrize("other", ["preparation = 2", "endpoint = 'f'"])
    def test_does_not_count_results_of_another_recipe(
        self, of_one_bought: Callable[[], Estimate], engine: Engine, other: str
    ) -> None:
        """A result of another endpoint or another preparation is not reused."""
        assert of_one_bought().bought == 1
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE bought_results SET {other}"))  # noqa: S608
        assert of_one_bought().bought == 0

    def test_says_what_the_bucket_does_not_hold_any_more(
        self, of_one_bought: Callable[[], Estimate], bucket: Bucket
    ) -> None:
        """A sample of the bucket is checked, so that a second purchase surprises nobody."""
        assert of_one_bought().sample == Sample(checked=1)
        for key in bucket.keys("cutouts/"):
            bucket.delete(key)
        found = of_one_bought()
        assert (found.bought, found.sample.missing_of(found.bought)) == (1, 1)

    def test_counts_one_call_for_all_forms_of_a_picture(
        self, estimated: Callable[..., Estimate], written: Callable[[str], Path]
    ) -> None:
        """Four forms that are derived cost one credit, four that are bought cost four."""
        path = written(f"external_id,source\na,{WEB}\nb,a.jpg\n")
        found = estimated(path, forms=tuple(ReturnForm))
        assert (found.counts.jobs, found.same_picture, found.calls) == (8, 6, 2)
        found = estimated(path, forms=tuple(ReturnForm), outputs=OutputOptions(Forms.BOUGHT))
        assert (found.counts.jobs, found.same_picture, found.calls) == (8, 0, 8)

    def test_counts_one_call_for_the_same_picture(
        self, estimated: Callable[..., Estimate], written: Callable[[str], Path]
    ) -> None:
        """Two products with one picture make one call, unless reuse is off."""
        path = written(f"external_id,source\na,{WEB}\nb,{WEB}\nc,a.jpg\n")
        found = estimated(path)
        assert (found.counts.jobs, found.same_picture, found.calls) == (3, 1, 2)
        assert (estimated(path, reuse=False).same_picture, estimated(path, reuse=False).calls) == (0, 3)
