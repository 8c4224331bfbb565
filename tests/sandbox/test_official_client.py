"""The endpoint's official Python client works against the sandbox."""

from typing import Any

import pytest
from ailabtools import AILabClient
from ailabtools.errors import AILabApiError

from tests.sandbox.client import Client
from tests.sandbox.pictures import decoded
from tests.support import event_loop


async def _remove_background(client: Client, key: str, image: bytes) -> dict[str, Any]:
    official = AILabClient(api_key=key, base_url=client.url)
    try:
        answer: dict[str, Any] = await official.cutout.cutoutProductBackgroundRemoval(
            {"image": image, "returnForm": "mask"}
        )
        return answer
    finally:
        await official.aclose()


class TestOfficialClient:
    @pytest.mark.parametrize("shape", ["page", "oldest", "middle", "newest"])
    def test_gets_a_result(self, client: Client, picture: bytes, shape: str) -> None:
        """A call through the official client succeeds, and its URL holds the form asked for."""
        client.set(envelope=shape)
        answer = event_loop.run(_remove_background(client, client.key, picture))
        assert decoded(client.http.get(answer["data"]["image_url"]).content).mode == "L"

    @pytest.mark.parametrize("shape", ["page", "oldest", "middle", "newest"])
    def test_raises_an_error_by_its_code(self, client: Client, picture: bytes, shape: str) -> None:
        """A refusal reaches the caller of the official client with the documented code and status."""
        client.set(envelope=shape)
        with pytest.raises(AILabApiError) as raised:
            event_loop.run(_remove_background(client, "poor", picture))
        assert raised.value.detail is not None
        assert (raised.value.detail.code, raised.value.detail.status_code) == (
            "ERROR_NOT_ENOUGH_CREDITS",
            429,
        )
