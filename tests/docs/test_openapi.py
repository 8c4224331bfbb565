"""The published OpenAPI document is the API's, and is complete."""

import json
from typing import Any

import pytest

from tests.docs import openapi_file

DOCUMENT: dict[str, Any] = json.loads(openapi_file.openapi_file())
OPERATIONS = [
    (path, method, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


def test_the_file_is_the_apis_document() -> None:
    """Also in the order of its members: a change of it shows as what it is."""
    assert openapi_file.PAGE.read_text() == openapi_file.openapi_file(), "run make openapi"


def test_it_is_made_the_same_way_each_time() -> None:
    """Nothing in it comes from a set or from the environment."""
    assert openapi_file.openapi_file() == openapi_file.openapi_file()


def test_every_operation_has_an_id_of_its_own() -> None:
    """Generated clients name their methods by it."""
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_path_has_options_and_every_get_a_head(path: str) -> None:
    """OPTIONS needs no key; HEAD has what GET has but bodies."""
    operations = DOCUMENT["paths"][path]
    assert operations["options"]["security"] == []
    assert ("get" in operations) == ("head" in operations)
    if "get" in operations:
        head, get = operations["head"], operations["get"]
        assert head["responses"].keys() == get["responses"].keys()
        assert head.get("parameters") == get.get("parameters")
        assert not any("content" in answer for answer in head["responses"].values())


def test_every_answer_names_its_headers() -> None:
    """The request's id everywhere, a time to wait at 429 and 503, the address at redirects."""
    for path, method, operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            headers = answer["headers"]
            assert "X-Request-ID" in headers, (path, method, status)
            assert ("Retry-After" in headers) == (status in ("429", "503")), (path, method, status)
            assert answer["description"] != "Successful Response" or status != "307"
            if status in ("201", "307"):
                assert "Location" in headers, (path, method, status)
            for header in headers.values():
                assert header["$ref"].rpartition("/")[2] in DOCUMENT["components"]["headers"]
