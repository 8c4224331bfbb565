"""Calls to a running sandbox as any client would make them, and its control routes."""

import socket
from typing import Any
from urllib.parse import urlsplit

import httpx

CALL = "/api/cutout/general/commodity-background-removal"
CREDITS = "/api/common/query-credits"


class Client:
    """One sandbox seen from outside; `key` is an account with plenty of credits."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.http = httpx.Client(base_url=url, timeout=20)

    def call(self, image: bytes, form: str | None = None, *, key: str | None = None) -> httpx.Response:
        return self.http.post(
            CALL,
            files={"image": ("picture", image)},
            data={} if form is None else {"return_form": form},
            headers={"ailabapi-api-key": self.key if key is None else key},
        )

    def post(self, **parts: Any) -> httpx.Response:
        return self.http.post(CALL, headers={"ailabapi-api-key": self.key}, **parts)

    def cut_out(self, image: bytes, form: str | None = None) -> httpx.Response:
        """Call, and download the result."""
        return self.http.get(self.call(image, form).raise_for_status().json()["data"]["image_url"])

    def fault(self, kind: str, **options: Any) -> None:
        self.http.post("/sandbox/faults", json={"next": 1, "kind": kind} | options).raise_for_status()

    def share_fault(self, kind: str, share: float) -> None:
        self.http.post("/sandbox/faults", json={"kind": kind, "share": share}).raise_for_status()

    def set(self, **settings: Any) -> None:
        self.http.post("/sandbox/settings", json=settings).raise_for_status()

    def read(self, part: str, **query: Any) -> Any:
        return self.http.get(f"/sandbox/{part}", params=query).raise_for_status().json()

    def charges(self) -> int:
        return int(self.read("ledger")["total"])

    def raw_answer(self, image: bytes, *, timeout: float = 5) -> bytes:
        """Call over a bare socket and give every byte that comes back until the connection closes.

        Raises TimeoutError if nothing comes, nor a close, for `timeout` seconds.
        """
        request = self.http.build_request(
            "POST", CALL, files={"image": ("p.jpg", image)}, headers={"ailabapi-api-key": self.key}
        )
        body = request.read()
        head = [f"POST {CALL} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
        address = urlsplit(self.url)
        assert address.port is not None
        with socket.create_connection((str(address.hostname), address.port), timeout) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer


def error_code(answer: httpx.Response) -> str:
    return str(answer.json()["error_detail"]["code"])
