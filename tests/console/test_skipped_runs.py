"""Skip of a schedule's next run: at once, with Undo, for who may, and never another run than was shown."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy.orm import Session

from cutout.enums import OperatorScope, Scope
from cutout.schedules.fire import fire
from tests.console.conftest import Site, signed_in
from tests.console.forms import told
from tests.console.test_buttons import JSON, actions, fields, operator, press

SCHEDULE = (
    "INSERT INTO schedules (id, producer_id, name, source, options, cron, zone, next_fire_at, next_due_at)"
    " SELECT uuidv7(), :owner, 'nightly', 's3://b/p/', '{}', '0 1 * * *', 'UTC', at, at"
    " FROM (SELECT date_trunc('day', now(), 'UTC') + interval '25 hours' AS at) AS next RETURNING id"
)
PASS_BY = (
    "UPDATE schedules SET next_fire_at = now() - interval '1 s', next_due_at = now() - interval '1 s',"
    " skips_at = CASE WHEN skips_at = next_fire_at THEN now() - interval '1 s' END"
)


@pytest.fixture
def ana(site: Site) -> Iterator[httpx.Client]:
    with operator(site) as client:
        yield client


@pytest.fixture
def page(site: Site) -> str:
    """The page of a schedule whose next run is tomorrow."""
    made = site.scalar_of_change(SCHEDULE, owner=site.producer_id)
    return f"/console/schedules/{made}"


def runs(site: Site) -> str | None:
    found: str | None = site.scalar("SELECT string_agg(state || ': ' || coalesce(note, ''), ', ') FROM runs")
    return found


def fire_all(site: Site) -> None:
    with Session(site.engine) as session, session.begin():
        fire(session)


def test_the_next_run_is_skipped_and_no_other(site: Site, ana: httpx.Client, page: str) -> None:
    """When its time comes it is written down as skipped; the run after it waits to start."""
    done = press(ana, page, f"{page}/skip", reason="stock-taking")
    after = told(ana.get(done.headers["Location"]))
    assert "The next run is skipped; those after it fire as ever." in after
    (row,) = actions(site)
    assert (row.kind, row.actor, row.reason) == ("skip_run", "ana", "stock-taking")
    for address in ("/console/schedules", "/console", page):
        assert "» skipped" in told(ana.get(address)), address
    day = site.scalar("SELECT next_fire_at FROM schedules").date().isoformat()
    calendar = told(ana.get("/console/schedules", params={"view": "month", "day": day}))
    assert "nightly » skipped 01:00" in calendar
    assert runs(site) is None
    site.execute(PASS_BY)
    fire_all(site)
    assert runs(site) == "skipped: it was skipped at a person's request"
    assert f"{page}/skip" in ana.get(f"{page}?x=1").text
    site.execute(PASS_BY)
    fire_all(site)
    assert site.scalar("SELECT count(*) FROM runs WHERE state = 'waiting'") == 1


def test_it_is_undone_and_restored(site: Site, ana: httpx.Client, page: str) -> None:
    """Within ten seconds by Undo; later by the opposite, which can be undone too."""
    shown = fields(ana.get("/console/schedules").text, f"{page}/skip")
    answer = ana.post(f"{page}/skip", data=shown, headers=JSON).json()
    assert answer["href"].startswith("/console/schedules?did=")
    assert ana.post(answer["undo"], headers=JSON).json()["text"] == "Undone."
    assert site.scalar("SELECT skips_at FROM schedules") is None
    assert [row.undone_by for row in actions(site)] == ["ana"]
    assert press(ana, page, f"{page}/skip").is_redirect
    restored = ana.post(f"{page}/restore", data=fields(ana.get(page).text, f"{page}/restore"), headers=JSON)
    assert restored.json()["text"] == "The next run fires as ever."
    assert site.scalar("SELECT skips_at FROM schedules") is None
    assert ana.post(restored.json()["undo"], headers=JSON).json()["text"] == "Undone."
    assert site.scalar("SELECT skips_at = next_fire_at FROM schedules")
    assert [row.kind for row in actions(site)] == ["skip_run", "skip_run", "restore_run"]


def test_what_was_fired_is_not_undone(site: Site, ana: httpx.Client, page: str) -> None:
    undo = ana.post(f"{page}/skip", data=fields(ana.get(page).text, f"{page}/skip"), headers=JSON).json()[
        "undo"
    ]
    site.execute(PASS_BY)
    fire_all(site)
    late = ana.post(undo)
    assert (late.status_code, actions(site)[0].undone_at) == (409, None)
    assert "it was changed again since" in told(late).lower()


def test_a_stale_page_skips_nothing(site: Site, ana: httpx.Client, page: str) -> None:
    """A run that was fired since, a schedule that was paused or removed, and times that are none."""
    shown = fields(ana.get(page).text, f"{page}/skip")
    site.execute(
        "UPDATE schedules SET next_fire_at = next_fire_at + interval '1 day',"
        " next_due_at = next_due_at + interval '1 day'"
    )
    late = ana.post(f"{page}/skip", data=shown)
    assert "The next run is another one than the page showed" in told(late)
    for bad in ("", "x", "\0", "9" * 4000, "tomorrow", "0001-01-01T00:00:00+14:00"):
        for verb in ("skip", "restore"):
            assert ana.post(f"{page}/{verb}", data={"fire_at": bad}).status_code == 409, bad
    now = fields(ana.get(f"{page}?x=0").text, f"{page}/skip")
    site.execute("UPDATE schedules SET paused_at = now()")
    assert "It is paused: it has no next run" in told(ana.post(f"{page}/skip", data=now))
    # Another address than that of the page that is kept for a second.
    assert f"{page}/skip" not in ana.get(f"{page}?x=1").text
    site.execute("UPDATE schedules SET paused_at = NULL, removed_at = now()")
    assert ana.post(f"{page}/skip", data=now).status_code == 404
    assert f"{page}/skip" not in ana.get(f"{page}?x=2").text
    assert (late.status_code, actions(site)) == (409, [])


def test_two_who_skip_at_once_skip_one_run(site: Site, ana: httpx.Client, page: str) -> None:
    shown = fields(ana.get(page).text, f"{page}/skip")
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(ana.post, f"{page}/skip", data=shown) for _ in range(4)]
        assert sorted(each.result().status_code for each in sent) == [303, 409, 409, 409]
    assert len(actions(site)) == 1


def test_it_is_of_those_who_may(site: Site, page: str) -> None:
    """Operators with `operate` skip, and need `spend` to let it start; producers need all, for their own."""
    with operator(site, OperatorScope.VIEW, OperatorScope.OPERATE) as ben:
        form = fields(ben.get(page).text, f"{page}/skip")
        assert ben.post(f"{page}/skip", data=form).is_redirect
        assert f"{page}/restore" not in ben.get(page).text
        assert ben.post(f"{page}/restore", data=form).status_code == 403
    with operator(site, OperatorScope.VIEW) as ben:
        assert f"{page}/" not in ben.get("/console/schedules").text
        assert ben.post(f"{page}/skip", data=form).status_code == 403
    with signed_in(site, site.make_key("other")[1]) as other:
        for verb in ("skip", "restore"):
            assert other.post(f"{page}/{verb}", data=form).status_code == 404
    with signed_in(site, site.make_key("lesser", Scope.READ, Scope.ENQUEUE)[1]) as lesser:
        assert lesser.post(f"{page}/skip", data=form).status_code == 403
    with operator(site) as ana:
        assert press(ana, page, f"{page}/restore").is_redirect
    with signed_in(site, site.key) as shop:
        assert press(shop, page, f"{page}/skip").is_redirect
        assert press(shop, f"{page}?x=1", f"{page}/restore").is_redirect
        assert press(shop, f"{page}?x=2", f"{page}/skip").is_redirect
        assert shop.post(f"/console/schedules/{uuid.uuid4()}/skip", data=form).status_code == 404
    assert [(row.kind, row.actor) for row in actions(site)] == [
        ("skip_run", "ana"),
        ("restore_run", "ana"),
        ("skip_run", "shop"),
        ("restore_run", "shop"),
        ("skip_run", "shop"),
    ]


def test_what_an_operator_skipped_its_producer_does_not_restore(
    site: Site, ana: httpx.Client, page: str
) -> None:
    """It has no button, its form is refused with the reason, and its Undo is of its own skip alone."""
    with signed_in(site, site.key) as shop:
        own = shop.post(f"{page}/skip", data=fields(shop.get(page).text, f"{page}/skip"), headers=JSON).json()
        form = fields(ana.get(page).text, f"{page}/restore")
        assert ana.post(f"{page}/restore", data=form).is_redirect
        assert ana.post(f"{page}/skip", data=form).is_redirect
        for address in (f"{page}?x=1", "/console/schedules"):
            assert f"{page}/restore" not in shop.get(address).text
        assert "skipped by an operator" in told(shop.get(f"{page}?x=2"))
        refused = shop.post(f"{page}/restore", data=form)
        assert (refused.status_code, "An operator skipped the run of" in told(refused)) == (403, True)
        assert shop.post(own["undo"]).status_code == 409
        assert site.scalar("SELECT skips_at = next_fire_at AND skips_by_operator FROM schedules")
    assert [row.kind for row in actions(site)] == ["skip_run", "restore_run", "skip_run"]
    assert ana.post(f"{page}/restore", data=form).is_redirect


def test_an_undone_restoration_is_the_skip_of_whom_it_was(site: Site, ana: httpx.Client, page: str) -> None:
    """An operator who takes it back does not take the producer's skip over."""
    with signed_in(site, site.key) as shop:
        assert press(shop, page, f"{page}/skip").is_redirect
        form = fields(ana.get(page).text, f"{page}/restore")
        undo = ana.post(f"{page}/restore", data=form, headers=JSON).json()["undo"]
        assert ana.post(undo).is_redirect
        assert not site.scalar("SELECT skips_by_operator FROM schedules")
        assert shop.post(f"{page}/restore", data=form).is_redirect
