"""Turns of producers at a renderer: one with slow outputs, and errors while a large picture is open."""

import pytest
from sqlalchemy.orm import Session

from cutout.enums import ReturnForm
from cutout.producers.producers import create_producer
from cutout.queue import outputs
from tests.worker.renderer.conftest import Rendering
from worker.renderer import children, render_picture


def test_slow_outputs_give_way_to_another_producer(
    rendering: Rendering, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture with many outputs is one turn of at most a time; what is left of it uses no try."""
    monkeypatch.setattr(render_picture, "TURN_S", 0.0)
    with Session(rendering.bench.engine) as session, session.begin():
        many, one = (create_producer(session, name)[0].id for name in ("many", "one"))
    slow = rendering.buy(photo, ReturnForm.MASK, "web", "ebay", producer_id=many)
    quick = rendering.buy(photo, ReturnForm.MASK, producer_id=one)
    rendering.renderer._last_owner = one
    assert rendering.renderer.serve_once()
    tries = sorted((output.state, output.tries) for output in rendering.outputs(slow).values())
    assert tries == [("made", 1), *[("waiting", 0)] * 3]
    assert rendering.renderer.serve_once()
    assert "made" in {output.state for output in rendering.outputs(quick).values()}
    monkeypatch.undo()
    rendering.make_all()
    states = {output.state for job_id in (slow, quick) for output in rendering.outputs(job_id).values()}
    assert states == {"made"}


def test_an_error_lets_other_threads_make_large_pictures(
    rendering: Rendering, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock for large pictures is released although the output could not be recorded."""
    monkeypatch.setattr(children, "LARGE_PIXELS", 0)
    rendering.buy(photo, ReturnForm.MASK)

    def fail(*_arguments: object) -> bool:
        raise RuntimeError("no row")

    monkeypatch.setattr(outputs, "finish", fail)
    renderer = rendering.renderer._picture_renderer()
    with pytest.raises(RuntimeError, match="no row"):
        rendering.renderer._next(renderer)
    assert not rendering.renderer._large.locked()
    renderer.close()
