"""Views that are shared for a second, and made anew for whoever sees what a page has just changed."""

import uuid

from console.viewer import NOBODY, Kind, Right, Viewer
from console.views import ScreenRequest, View, Views
from tests.support import event_loop

SHOP, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def asked_by(producer_id: uuid.UUID | None, made: list[uuid.UUID | None]) -> ScreenRequest:
    kind = Kind.PRODUCER if producer_id else Kind.OPERATOR
    viewer = Viewer(kind, producer_id, "", NOBODY, frozenset({Right.VIEW}))

    async def ask() -> View:
        made.append(producer_id)
        return View("x.html", "x", {})

    return ScreenRequest("x", "/x", "", viewer, "", {}, ask)


def made_after(changed_by: uuid.UUID | None) -> list[uuid.UUID | None]:
    """Those whose view is made anew after a change."""

    async def run() -> list[uuid.UUID | None]:
        views, made = Views(), list[uuid.UUID | None]()
        for viewer in (SHOP, OTHER, None):
            await views.get(asked_by(viewer, made))
        made.clear()
        views.changed(changed_by)
        for viewer in (SHOP, OTHER, None):
            await views.get(asked_by(viewer, made))
        assert [views.changed_lately(viewer) for viewer in (SHOP, OTHER, None)] == [
            viewer in made for viewer in (SHOP, OTHER, None)
        ]
        return made

    return event_loop.run(run())


def test_a_producer_ends_its_own_views_alone() -> None:
    """Buttons of one producer, pressed again and again, let nobody else wait for a view."""
    assert made_after(SHOP) == [SHOP]


def test_an_operator_ends_all() -> None:
    """An operator may change any producer's work."""
    assert made_after(None) == [SHOP, OTHER, None]
