import csv
import io
import json
import unicodedata
import uuid
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from cutout.enums import State
from cutout.manifests.csv_injection import SIGNS, STARTS, escape_cell
from cutout.queue.attempts.outcomes import Fail
from cutout.results import CutoutLinks, Format, Selection, open_results, write_results
from cutout.results.formats import COLUMNS
from cutout.results.rows import ResultRow
from cutout.storage import Bucket
from tests.support.fates import DONE, make_batch

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
)


def written(
    engine: Engine, wanted: uuid.UUID | Selection, form: Format, links: CutoutLinks | None = None
) -> str:
    selection = wanted if isinstance(wanted, Selection) else Selection(wanted)
    with open_results(engine, selection) as results:
        return b"".join(write_results(results, form, links)).decode()


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
        with engine.begin() as connection:
            details = '{"state": "=1+1", "titre": "é\\n\u2028"}'
            connection.execute(text("UPDATE jobs SET details = :it, reused = true"), {"it": details})
        (line,) = written(engine, batch_id, Format.NDJSON).split("\n")[:-1]
        found = json.loads(line)
        assert tuple(found) == (*COLUMNS, "details")
        assert (found["state"], found["width"], found["reused"]) == ("succeeded", 10, True)
        assert (found["error_code"], found["credits"]) == (None, 0)
        assert found["details"] == {"state": "=1+1", "titre": "é\n\u2028"}

    def test_have_links_if_asked(self, engine: Engine, bucket: Bucket) -> None:
        """Both formats have the link and its expiry, and neither where there is no cutout."""
        batch_id = make_batch(engine, {"a": DONE, "b": None})
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
        tally: Counter[str] = Counter()
        with open_results(engine, Selection(batch_id)) as results:
            pieces = write_results(results, Format.CSV, None, tally)
            assert next(pieces).startswith(b"external_id,")
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
            with engine.begin() as connection:
                connection.execute(text("UPDATE jobs SET external_id = 'later' WHERE external_id = 'c'"))
            assert b"later" in b"".join(pieces)
        assert (results.total, tally) == (3, {"succeeded": 1, "failed": 1, "queued": 1})
