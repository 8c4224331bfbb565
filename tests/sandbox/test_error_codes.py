"""Every documented code, in every shape of envelope and by both generations of statuses."""

import csv
from pathlib import Path

import pytest

import sandbox
from tests.sandbox.client import CREDITS, Client, error_code

TABLE = Path(sandbox.__file__).parent / "error_codes.tsv"
ROWS = list(csv.reader(TABLE.read_text().splitlines()[1:], delimiter="\t"))
SHAPES = {
    "page": {"request_id", "log_id", "error_code", "error_msg", "error_detail"},
    "oldest": {"request_id", "log_id", "error_code", "error_code_str", "error_msg", "error_detail"},
    "middle": {"request_id", "log_id", "error_code", "error_detail"},
    "newest": {"request_id", "log_id", "error_detail"},
}
CURRENT_DETAIL = {"code", "code_message", "message"}


class TestEveryCode:
    def test_the_table_holds_all_126(self) -> None:
        """Every code the endpoint documents is in the table, once."""
        assert len({code for code, _, _ in ROWS}) == len(ROWS) == 126

    @pytest.mark.parametrize(
        ("shape", "statuses"), [*((shape, "current") for shape in SHAPES), ("oldest", "before-2026")]
    )
    def test_is_answered_by_its_string_and_status(
        self, client: Client, picture: bytes, shape: str, statuses: str
    ) -> None:
        """A code on order is answered with its status of that time, and its string where the shape has it."""
        client.set(envelope=shape, statuses=statuses)
        for code, current, before in ROWS:
            client.fault("code", code=code)
            answer = client.call(picture)
            wanted = before if statuses == "before-2026" and before != "-" else current
            assert (code, answer.status_code, error_code(answer)) == (code, int(wanted), code)
            body = answer.json()
            assert body.get("error_code", answer.status_code) == answer.status_code
            assert body.get("error_code_str", code) == code
        assert client.charges() == 0


class TestEnvelope:
    @pytest.mark.parametrize(("shape", "fields"), SHAPES.items())
    def test_has_the_fields_of_its_shape(
        self, client: Client, picture: bytes, shape: str, fields: set[str]
    ) -> None:
        """Failures carry exactly the shape's fields, successes the same and `data`."""
        client.set(envelope=shape)
        detail = CURRENT_DETAIL if shape == "newest" else CURRENT_DETAIL | {"status_code"}
        failed, succeeded = client.call(b"no picture").json(), client.call(picture).json()
        assert (set(failed), set(failed["error_detail"])) == (fields, detail)
        assert (set(succeeded), set(succeeded["error_detail"])) == (fields | {"data"}, detail)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_of_a_success_names_no_code(self, client: Client, picture: bytes, shape: str) -> None:
        """A success answers 200 with an empty code string and, where the shape has one, code 0."""
        client.set(envelope=shape)
        answer = client.call(picture)
        assert answer.status_code == 200
        assert error_code(answer) == ""
        assert answer.json().get("error_code", 0) == 0
        assert answer.json().get("error_code_str", "") == ""


class TestKey:
    @pytest.mark.parametrize("key", ["", "unknown"])
    def test_wrong_or_missing_is_an_unknown_user(self, client: Client, picture: bytes, key: str) -> None:
        """A key of no account is refused with ERROR_USER_NOT_EXISTS on both routes."""
        call = client.call(picture, key=key)
        credits_query = client.http.get(CREDITS, headers={"ailabapi-api-key": key})
        assert {(a.status_code, error_code(a)) for a in (call, credits_query)} == {
            (401, "ERROR_USER_NOT_EXISTS")
        }

    def test_is_wanted_in_its_own_header(self, client: Client, picture: bytes) -> None:
        """A call with the key in no header at all is refused."""
        answer = client.http.post(
            "/api/cutout/general/commodity-background-removal", files={"image": picture}
        )
        assert error_code(answer) == "ERROR_USER_NOT_EXISTS"


class TestUnknownPath:
    def test_is_an_api_that_does_not_exist(self, client: Client) -> None:
        """Another path under /api is answered with ERROR_AI_NOT_EXISTS."""
        answer = client.http.post("/api/cutout/general/retired", headers={"ailabapi-api-key": client.key})
        assert (answer.status_code, error_code(answer)) == (404, "ERROR_AI_NOT_EXISTS")
