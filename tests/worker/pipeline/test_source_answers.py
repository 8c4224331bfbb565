"""Answers of a source's server other than a picture: each has a code and a remedy of its own."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.orm import Session

from cutout.enums import Reuse, State
from cutout.status.call_rate import CallSettings
from cutout.status.explain import explain
from tests.cutout.images.tiffs import Ifd, tiff_of
from tests.support.bench import Bench
from tests.support.sandbox import Sandbox
from tests.support.web import serve

PAGE = b"<!doctype html><html><head><title>Shoe</title></head><body><div id=app></div></body></html>"
PAGES: dict[str, bytes | str | int] = {
    "/share/d/1abc/view": PAGE,
    "/login": b"<html><form method=post><input type=password name=p></form></html>",
    "/private.jpg": "/account/login",
    "/account/login": PAGE,
    "/moved.jpg": "/share/d/1abc/view",
    "/json/x.jpg": b'{"error": {"code": 404}}',
    "/unauthorized.jpg": 401,
    "/forbidden.jpg": 403,
    "/gone.jpg": 410,
    "/odd.jpg": 406,
    "/nothing.jpg": 204,
}


@pytest.fixture
def shop() -> Iterator[str]:
    """A server that answers with anything but a picture; gives `host:port`."""
    with serve(PAGES) as host:
        yield host


@pytest.fixture
def shopping(make_bench: Callable[..., Bench], shop: str) -> Bench:
    return make_bench(source_private_hosts=(shop,))


def test_each_answer_has_a_code_and_a_remedy(shopping: Bench, shop: str, sandbox: Sandbox) -> None:
    """Pages, JSON and refusals are told apart, none is paid for, and no address is shown."""
    expected = {
        "/share/d/1abc/view?usp=sharing": ("IMAGE_IS_WEB_PAGE", "give the picture's own address"),
        "/moved.jpg": ("IMAGE_IS_WEB_PAGE", "give the picture's own address"),
        "/login": ("IMAGE_IS_LOGIN_PAGE", "give a public or signed address"),
        "/private.jpg": ("IMAGE_IS_LOGIN_PAGE", "give a public or signed address"),
        "/json/x.jpg": ("IMAGE_IS_JSON", "give the address of the picture"),
        "/unauthorized.jpg": (
            "SOURCE_NEEDS_LOGIN",
            "HTTP status 401 instead of 200; the address needs a login",
        ),
        "/forbidden.jpg": ("SOURCE_FORBIDDEN", "allow the user agent cutout there"),
        "/forbidden.jpg?X-Amz-Signature=ab": ("SOURCE_FORBIDDEN", "the signed link has most likely expired"),
        "/never.jpg": ("SOURCE_MISSING", "HTTP status 404 instead of 200; nothing is at this address"),
        "/gone.jpg": ("SOURCE_MISSING", "nothing is at this address"),
        "/odd.jpg": ("SOURCE_STATUS", "HTTP status 406 instead of 200"),
        "/nothing.jpg": ("SOURCE_STATUS", "HTTP status 204 instead of 200"),
    }
    jobs = {path: shopping.enqueue(f"http://{shop}{path}") for path in expected}
    for _ in range(2):  # ten at a time
        shopping.work()
    for path, (code, remedy) in expected.items():
        job = shopping.job(jobs[path])
        assert (path, job.state, job.code) == (path, State.FAILED, code)
        assert remedy in (job.message or "")
        assert shop not in (job.message or "")
    assert sandbox.charges() == 0


def test_of_a_tiff_of_several_pictures_it_is_said_which_one_was_cut_out(
    make_bench: Callable[..., Bench], photo: bytes
) -> None:
    """The explanation of a job that has ended, also by reuse, names the picture that was taken."""
    bench = make_bench(reuse=Reuse.ALL)
    source = tiff_of(Ifd((160, 120), tags={254: [1]}), Ifd((400, 300)))
    several, one = bench.enqueue(source), bench.enqueue(photo)
    bench.work()
    again = bench.enqueue(source)
    bench.work()
    assert bench.job(again).reused
    with Session(bench.engine) as session:
        for job_id in (several, again):
            said = explain(session, bench.job(job_id), CallSettings([])).text
            assert said.endswith("; picture 2 of the TIFF's 2 taken: 400x300 pixels, the full-size one")
        assert ";" not in explain(session, bench.job(one), CallSettings([])).text
