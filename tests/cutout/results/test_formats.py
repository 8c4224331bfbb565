import csv
import io
import json
import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from cutout.enums import OutputState, ReturnForm, State
from cutout.manifests.csv_injection import SIGNS, STARTS, escape_cell
from cutout.queue.attempts.outcomes import Fail
from cutout.results import CutoutLinks, Format, Selection, WrittenRows, open_results, write_results
from cutout.results.formats import COLUMNS
from cutout.results.rows import ResultRow
from cutout.storage import Bucket
from tests.support.fates import DONE, Fates, make_batch
from tests.support.outputs import make_outputs, put_output, put_score, without_outputs

# What Postgres stores as text.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ROW = ResultRow(
    "SKU",
    "rgba",
    "failed",
    None,
    None,
    None,
    None,
    None,
    None,
    False,
    0,
    1,
    "BROKEN",
    "m",
    None,
    "r",
    "j",
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    (),
    None,
    None,
)


def written(
    engine: Engine, wanted: uuid.UUID | Selection, form: Format, links: CutoutLinks | None = None
) -> str:
    selection = wanted if isinstance(wanted, Selection) else Selection(wanted)
    with open_results(engine, selection) as results:
        pieces = write_results(results, form, links, renditions=results.renditions)
        return b"".join(pieces).decode()


def read_csv(file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file, newline=""), strict=True))


def charge(engine: Engine, external_id: str, *attempts: tuple[str, str]) -> None:
    """Calls of the job, by outcome and request id."""
    call = text(
        "INSERT INTO attempts (job_id, number, fence, worker_id, account, image_sha256, outcome, ended_at,"
        " request_id) SELECT id, :number, 1, uuidv7(), 'account', 'x', :outcome, now(), :request_id"
        " FROM jobs WHERE external_id = :external_id"
    )
    with engine.begin() as connection:
        for number, (outcome, request_id) in enumerate(attempts, start=1):
            values = {"number": number, "outcome": outcome, "request_id": request_id}
            connection.execute(call, values | {"external_id": external_id})


class TestACellOfText:
    @given(TEXTS)
    def test_never_begins_a_formula(self, value: str) -> None:
        """A cell that would begin a formula begins with an apostrophe; others are unchanged."""
        cell = escape_cell(value)
        assert cell is not None
        assert cell[:1] not in STARTS
        assert cell in (value, f"'{value}")
        assert cell != value or unicodedata.normalize("NFKC", value).strip()[:1] not in SIGNS

    @pytest.mark.parametrize("before", ["", " ", "\xa0", "\u3000", "\u200b", "\ufeff \u202e", "\n", "\0"])
    @pytest.mark.parametrize("sign", [*"=+-@", *"\uff1d\uff0b\uff0d\uff20\ufe66\u207a"])
    def test_is_guarded_behind_invisible_characters(self, before: str, sign: str) -> None:
        """Importers trim blanks and convert wide and small signs to plain ones."""
        assert escape_cell(f"{before}{sign}1+1") == f"'{before}{sign}1+1"

    @pytest.mark.parametrize("value", [" SKU-1", "a=1", "\u2212 5", "1-2", "\u200ba", "", "'=1", "é+", " "])
    def test_of_another_kind_stays(self, value: str) -> None:
        """A sign counts only at the beginning."""
        assert escape_cell(value) == value

    @given(TEXTS, TEXTS, TEXTS, TEXTS)
    def test_is_read_back_from_csv(self, external_id: str, key: str, code: str, message: str) -> None:
        """Cells with any letters, quotes and line ends stay separate from their neighbours."""
        row = ROW._replace(external_id=external_id, key=key, error_code=code, error_message=message)
        (found,) = read_csv(b"".join(write_results([[row]], Format.CSV)).decode())
        cells = [found[name] for name in ("external_id", "key", "error_code", "error_message", "job_id")]
        assert cells == [escape_cell(cell) for cell in (external_id, key, code, message, "j")]

    @given(TEXTS, TEXTS)
    def test_is_read_back_from_ndjson(self, external_id: str, message: str) -> None:
        """Text is written unchanged."""
        row = ROW._replace(external_id=external_id, error_message=message)
        found = json.loads(b"".join(write_results([[row]], Format.NDJSON)))
        assert (found["external_id"], found["error_message"]) == (external_id, message)


class TestResults:
    def test_have_what_calls_came_to(self, engine: Engine) -> None:
        """Credits and attempts are those of the job, the request id is that of its last call."""
        batch_id = make_batch(engine, {"a": DONE, "b": Fail("BROKEN", "m"), "c": None})
        charge(engine, "a", ("unknown", "r1"), ("charged", "r2"), ("charged", "r3"))
        charge(engine, "b", ("not_charged", "r4"))
        rows = read_csv(written(engine, batch_id, Format.CSV))
        assert [(row["attempts"], row["credits"], row["request_id"]) for row in rows] == [
            ("3", "2", "r3"),
            ("1", "0", "r4"),
            ("0", "0", ""),
        ]

    def test_are_objects_with_their_own_types(self, engine: Engine) -> None:
        """NDJSON has numbers, booleans, nulls and the manifest's other fields."""
        batch_id = make_batch(engine, {"a": DONE})
        without_outputs(engine)
        with engine.begin() as connection:
            details = '{"state": "=1+1", "titre": "é\\n\u2028"}'
            connection.execute(text("UPDATE jobs SET details = :it, reused = true"), {"it": details})
        (line,) = written(engine, batch_id, Format.NDJSON).split("\n")[:-1]
        found = json.loads(line)
        assert tuple(found) == (*COLUMNS, "outputs", "details", "metadata")
        assert (found["state"], found["width"], found["reused"]) == ("succeeded", 10, True)
        assert (found["error_code"], found["credits"]) == (None, 0)
        assert found["details"] == {"state": "=1+1", "titre": "é\n\u2028"}

    def test_have_links_if_asked(self, engine: Engine, bucket: Bucket) -> None:
        """Both formats have the link and its expiry, and neither where there is no cutout."""
        batch_id = make_batch(engine, {"a": DONE, "b": None})
        without_outputs(engine)
        links = CutoutLinks(bucket, hours=2)
        good, waiting = read_csv(written(engine, batch_id, Format.CSV, links))
        assert list(good)[3:6] == ["key", "url", "url_expires_at"]
        assert (good["url"], good["url_expires_at"]) == (
            links.to("cutouts/a.png"),
            links.expires_at.isoformat(),
        )
        assert "X-Amz-Expires=7200" in good["url"]
        assert (waiting["url"], waiting["url_expires_at"]) == ("", "")
        assert (
            json.loads(written(engine, batch_id, Format.NDJSON, links).splitlines()[0])["url"] == good["url"]
        )

    def test_are_of_the_delivered_picture(self, engine: Engine) -> None:
        """Empty while it waits; then its own columns, and what it is derived from beside them."""
        batch_id = make_batch(engine, {"a": DONE})
        put_output(engine, "a", "rgba")
        (waiting,) = read_csv(written(engine, batch_id, Format.CSV))
        assert (waiting["state"], waiting["output_state"], waiting["key"]) == ("succeeded", "waiting", "")
        assert (waiting["bought_key"], waiting["derived_from"]) == ("cutouts/a.png", "ab" * 32)
        make_outputs(engine)
        put_score(engine, "a", 0.5)
        (made,) = read_csv(written(engine, batch_id, Format.CSV))
        assert [made[name] for name in ("key", "sha256", "width", "size_bytes", "output_state")] == [
            "cutouts/full.png",
            "cd" * 32,
            "40",
            "99999",
            "made",
        ]
        assert [made[name] for name in ("factor", "recipe", "version", "score", "score_reasons")] == [
            "4.0",
            "rgba",
            "1",
            "0.5",
            "the product has holes",
        ]

    def test_have_columns_for_each_rendition_that_occurs(self, engine: Engine, bucket: Bucket) -> None:
        """State, key, link and problems; a form that another form's job has too is a rendition there."""
        fates: Fates = {("a", ReturnForm.RGBA): DONE, ("b", ReturnForm.MASK): DONE}
        batch_id = make_batch(engine, fates)
        put_output(
            engine, "a", "amazon", OutputState.MADE, problems=["=too small", "grey"], key="-amazon.jpg"
        )
        put_output(engine, "b", "amazon", OutputState.FAILED, code="X", message="m")
        plain = read_csv(written(engine, batch_id, Format.CSV))
        assert list(plain[0])[len(COLUMNS) :] == ["amazon_state", "amazon_key", "amazon_problems"]
        put_output(engine, "a", "mask")
        links = CutoutLinks(bucket)
        one, other = read_csv(written(engine, batch_id, Format.CSV, links))
        assert list(one)[len(COLUMNS) + 2 :][4:] == ["mask_state", "mask_key", "mask_url", "mask_problems"]
        assert [one[f"amazon_{kind}"] for kind in ("state", "key", "url", "problems")] == [
            "made",
            "'-amazon.jpg",
            links.to("-amazon.jpg", "image/png"),
            "'=too small; grey",
        ]
        assert [other[f"amazon_{kind}"] for kind in ("state", "key", "url", "problems")] == [
            "failed",
            "",
            "",
            "X: m",
        ]
        assert (one["mask_state"], other["mask_state"]) == ("waiting", "")

    def test_have_the_outputs_as_an_object(self, engine: Engine, bucket: Bucket) -> None:
        """NDJSON has each by its name, with its link, its problems and its error."""
        batch_id = make_batch(engine, {"a": DONE})
        put_output(engine, "a", "rgba")
        put_output(engine, "a", "amazon", OutputState.MADE, problems=["grey"])
        put_output(engine, "a", "web", OutputState.FAILED, code="X", message="raise CUTOUT_SPOOL_DIR; m")
        links = CutoutLinks(bucket)
        outputs = json.loads(written(engine, batch_id, Format.NDJSON, links))["outputs"]
        assert list(outputs) == ["amazon", "rgba", "web"]
        amazon, web = outputs["amazon"], outputs["web"]
        assert (amazon["state"], amazon["problems"], amazon["derived_from"]) == ("made", ["grey"], "ab" * 32)
        assert amazon["url"] == links.to("cutouts/full.png", "image/png")
        assert (web["key"], web["error"]) == (None, {"code": "X", "message": "m"})

    def test_that_were_reused_have_the_score_of_their_purchase(self, engine: Engine) -> None:
        """A score is made once for each purchase."""
        batch_id = make_batch(engine, {"a": DONE, "b": DONE})
        put_score(engine, "a", 0.25)
        with engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET reused = true WHERE external_id = 'b'"))
            connection.execute(text("DELETE FROM outputs USING jobs WHERE id = job_id AND reused"))
        _, reused = read_csv(written(engine, batch_id, Format.CSV))
        assert reused["score"] == "0.25"

    def test_may_be_those_of_some_states_or_codes(self, engine: Engine) -> None:
        """Only the selected jobs of this batch are written; a batch without jobs has a header."""
        make_batch(engine, {"x": DONE})
        batch_id = make_batch(
            engine, {"a": DONE, "b": Fail("BROKEN", "m"), "c": Fail("GONE", "m"), "d": None}
        )

        def names(states: tuple[State, ...] = (), codes: tuple[str, ...] = ()) -> list[str]:
            rows = read_csv(written(engine, Selection(batch_id, states, codes), Format.CSV))
            return [row["external_id"] for row in rows]

        assert names() == ["a", "b", "c", "d"]
        assert names((State.SUCCEEDED, State.QUEUED)) == ["a", "d"]
        assert names((), ("GONE",)) == ["c"]
        assert names((State.SUCCEEDED,), ("GONE",)) == []
        assert written(engine, make_batch(engine, {}), Format.CSV) == ",".join(COLUMNS) + "\r\n"

    def test_are_read_as_they_are_written(self, engine: Engine) -> None:
        """A page is read when it is needed, in a transaction of its own; all rows are counted by state."""
        batch_id = make_batch(engine, {"a": DONE, "b": Fail("BROKEN", "m"), "c": None})
        put_output(engine, "a", "rgba")
        tally = WrittenRows()
        with open_results(engine, Selection(batch_id)) as results:
            pieces = write_results(results, Format.CSV, None, tally)
            assert next(pieces).startswith(b"external_id,")
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
            with engine.begin() as connection:
                connection.execute(text("UPDATE jobs SET external_id = 'later' WHERE external_id = 'c'"))
            assert b"later" in b"".join(pieces)
        assert (results.total, tally.rows) == (3, {"succeeded": 1, "failed": 1, "queued": 1})
        assert (tally.waiting_outputs, tally.failed_outputs) == (1, 0)
