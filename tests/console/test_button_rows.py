"""Each change by a page leaves one row in `actions`, for whoever may make it; for others none."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
import pytest

from cutout.enums import ActionKind, OperatorScope, Scope
from tests.console.conftest import Site, signed_in
from tests.console.test_buttons import FAILED, HELD, actions, fields, let, operator
from tests.console.test_pages import routes
from tests.operations.test_action_rows import plan_batch

K = ActionKind
BATCH, JOB = "/console/batches/{batch_id}", "/console/jobs/{job_id}"
SCHEDULE = "/console/schedules/{schedule_id}"
# They sign in or out, or offer a price: of these `actions` tells nothing. What is added has tests of its own.
ADD = "/console/add"
NO_CHANGE = {
    "/console/sign-in",
    "/console/sign-out",
    "/console/link",
    "/console/{address}",
    f"{BATCH}/retry/price",
}


@dataclass(frozen=True)
class Press:
    """A button: the kind of its action, the page with its form, what is typed, and what was before it."""

    kind: ActionKind
    page: str
    typed: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    price: str = ""
    need: OperatorScope = OperatorScope.OPERATE


SPEND = OperatorScope.SPEND
WEBHOOKS = "/console/trouble/webhooks"
UNEXPECTED = (
    "UPDATE jobs SET state = 'held', queue_state = NULL, finished_at = NULL, code = 'RESULT_UNEXPECTED',"
    ' message = \'x\', unexpected = \'{"key": "unexpected/x.png", "reason": "no alpha", "sha256": "ab",'
    ' "media_type": "image/png", "extension": "png", "size_bytes": 9, "width": 6, "height": 6}\''
    " WHERE external_id = 'A'"
)
GIVEN_UP = (
    "INSERT INTO deliveries (producer_id, url, type, payload, state, last_error, finished_at, tries)"
    " VALUES (:owner, 'https://hooks.example/x', 'job.failed', '{}', 'given_up', 'status 500', now(), 9)"
    " RETURNING id"
)
END = f"UPDATE jobs SET {FAILED}"  # noqa: S608 - texts of these modules
QUEUED = (
    "UPDATE jobs SET state = 'queued', queue_state = 'ready', finished_at = NULL, code = NULL, message = NULL"
    " WHERE state = 'failed'"
)
BUTTONS = {
    f"{BATCH}/pause": Press(K.PAUSE, BATCH),
    f"{BATCH}/resume": Press(K.RESUME, BATCH, before="UPDATE batches SET paused_by_operator_at = now()"),
    f"{BATCH}/budget": Press(K.BUDGET, f"{BATCH}/budget?to=9", need=SPEND),
    f"{BATCH}/cancel": Press(K.CANCEL, f"{BATCH}/cancel", {"count": "3"}),
    f"{BATCH}/delete": Press(K.DELETE, f"{BATCH}/delete", {"count": "3"}, before=END, need=SPEND),
    f"{BATCH}/retry": Press(K.RETRY, BATCH, price=f"{BATCH}/retry/price", need=SPEND),
    f"{BATCH}/approve": Press(K.APPROVE, BATCH, before="plan", need=SPEND),
    f"{BATCH}/discard": Press(K.CANCEL, BATCH, before="plan"),
    f"{JOB}/retry": Press(K.RETRY_JOB, f"{JOB}/retry", need=SPEND),
    f"{JOB}/cancel": Press(K.CANCEL_JOB, f"{JOB}/cancel", before=QUEUED),
    f"{JOB}/accept": Press(K.ACCEPT_JOB, f"{JOB}/accept", before=UNEXPECTED),
    "/console/deliveries/{delivery_id}/replay": Press(K.REPLAY_DELIVERY, WEBHOOKS),
    f"{WEBHOOKS}/replay": Press(K.REPLAY_DELIVERY, f"{WEBHOOKS}/replay"),
    f"{SCHEDULE}/pause": Press(K.PAUSE_SCHEDULE, SCHEDULE),
    f"{SCHEDULE}/resume": Press(
        K.RESUME_SCHEDULE, SCHEDULE, before="UPDATE schedules SET paused_by_operator_at = now()", need=SPEND
    ),
    f"{SCHEDULE}/skip": Press(K.SKIP_RUN, SCHEDULE),
    f"{SCHEDULE}/restore": Press(
        K.RESTORE_RUN, SCHEDULE, before="UPDATE schedules SET skips_at = next_fire_at", need=SPEND
    ),
    f"{SCHEDULE}/run": Press(K.RUN_SCHEDULE, f"{SCHEDULE}/run", need=SPEND),
    "/console/calls/pause": Press(K.PAUSE_ALL, "/console/limit"),
    "/console/calls/resume": Press(
        K.RESUME_ALL, "/console/limit", before="UPDATE queue_clock SET paused_at = now()"
    ),
    "/console/trouble/held/release": Press(
        K.RETRY, "/console/trouble/held/release?code=NO_ANSWER", need=SPEND
    ),
    "/console/trouble/held/cancel": Press(
        K.CANCEL, "/console/trouble/held/cancel?code=NO_ANSWER", {"count": "1"}
    ),
}
# Has tests of its own: it is noted on the row of what it undoes.
UNDO = "/console/actions/{action_id}/undo"


@pytest.fixture
def names(site: Site) -> dict[str, str]:
    """Ids of a batch with a failed, a held and a waiting job, of the failed one, a schedule and a message."""
    batch_id = site.make_batch("spring", ["A", "B", "C"])
    let(site, FAILED, "external_id = 'A'")
    let(site, HELD, "external_id = 'B'")
    schedule_id = site.scalar_of_change(
        "INSERT INTO schedules"
        " (id, producer_id, name, source, options, cron, zone, next_fire_at, next_due_at)"
        " VALUES (uuidv7(), :owner, 'nightly', 's3://b/p/', '{}', '0 1 * * *', 'UTC', now() + interval '1 h',"
        " now() + interval '1 h') RETURNING id",
        owner=site.producer_id,
    )
    job_id = site.scalar("SELECT id FROM jobs WHERE external_id = 'A'")
    delivery_id = site.scalar_of_change(GIVEN_UP, owner=site.producer_id)
    ids = {"batch_id": batch_id, "job_id": job_id, "schedule_id": schedule_id, "delivery_id": delivery_id}
    return {name: str(id_) for name, id_ in ids.items()}


def prepare(site: Site, button: Press, names: Mapping[str, str]) -> None:
    """Make what must be before the button is there."""
    if button.before == "plan":
        plan_batch(site.engine, uuid.UUID(names["batch_id"]))
    elif button.before:
        site.execute(button.before)


def form_of(client: httpx.Client, address: str, button: Press, names: Mapping[str, str]) -> dict[str, str]:
    """The form behind a button, as it is shown to somebody who has it."""
    page = button.page.format_map(names)
    if button.price:
        page = client.post(button.price.format_map(names)).headers["Location"]
    return fields(client.get(page).text, address) | dict(button.typed)


def test_all_buttons_are_walked_here() -> None:
    posts = {path for path, methods in routes() if "POST" in methods}
    assert posts == BUTTONS.keys() | NO_CHANGE | {UNDO, ADD}


@pytest.mark.parametrize("path", BUTTONS)
def test_a_button_leaves_one_row(site: Site, names: dict[str, str], path: str) -> None:
    """With who pressed it, and the reason; the same form sent again leaves no second one."""
    button, address = BUTTONS[path], path.format_map(names)
    prepare(site, button, names)
    with operator(site) as ana:
        form = form_of(ana, address, button, names) | {"reason": "as agreed"}
        answer = ana.post(address, data=form)
        assert answer.status_code == 303, answer.text
        (row,) = actions(site)
        assert (row.kind, row.actor_role, row.actor) == (button.kind, "operator", "ana")
        if path not in (f"{BATCH}/approve", f"{BATCH}/discard"):
            assert row.reason == "as agreed"
            assert ana.get(answer.headers["Location"]).status_code == 200
        if button.kind is not K.RUN_SCHEDULE:
            assert ana.post(address, data=form).status_code in (404, 409)
            assert len(actions(site)) == 1


@pytest.mark.parametrize("path", BUTTONS)
def test_a_button_is_of_those_who_may_press_it(site: Site, names: dict[str, str], path: str) -> None:
    """Others have no such button, and a form that they send is refused and changes nothing."""
    button, address = BUTTONS[path], path.format_map(names)
    prepare(site, button, names)
    with operator(site) as ana:
        form = form_of(ana, address, button, names)
    lesser = OperatorScope.OPERATE if button.need is SPEND else OperatorScope.VIEW
    page = button.page.partition("?")[0].removesuffix("/held/release").removesuffix("/held/cancel")
    page = (
        page
        if page in (BATCH, SCHEDULE, WEBHOOKS, "/console/limit", "/console/trouble")
        else page.rpartition("/")[0]
    )
    with operator(site, *{OperatorScope.VIEW, lesser}) as ben:
        shown = ben.get(page.format_map(names)).text
        assert f'action="{address}"' not in shown
        assert f'href="{address}' not in shown
        # A price belongs to who asked for it.
        expected = (403, 409) if button.price else (403,)
        assert ben.post(address, data=form).status_code in expected
    assert actions(site) == []


@pytest.mark.parametrize("path", BUTTONS)
def test_a_button_is_for_ones_own(site: Site, names: dict[str, str], path: str) -> None:
    """For another producer there is no such thing; what is of all is for operators."""
    button, address = BUTTONS[path], path.format_map(names)
    prepare(site, button, names)
    with operator(site) as ana:
        form = form_of(ana, address, button, names)
    _, key = site.make_key("other", *Scope)
    with signed_in(site, key) as other:
        expected = 409 if "/trouble/" in address else 403 if "/calls/" in address else 404
        assert other.post(address, data=form).status_code == expected
    assert actions(site) == []


BAD: list[dict[str, str]] = [
    {},
    {"revision": "x" * 60_000},
    {"revision": "\0", "code": "\0", "seen": "\0", "quote": "\0", "since": "\0", "count": "\0", "to": "\0"},
    {"count": "9" * 30, "to": "9" * 30, "credits": "9" * 30, "jobs": "9" * 30, "code": "9" * 3000},
    {"reason": "x" * 501},
    {"reason": "two\nlines"},
    {"reason": "\u202eesrever"},
    {f"field{n}": "x" for n in range(40)},
]


@pytest.mark.parametrize("path", [*BUTTONS, UNDO, f"{BATCH}/retry/price"])
def test_a_bad_form_is_a_plain_page(site: Site, names: dict[str, str], path: str) -> None:
    """Wrong types, huge fields, control characters, ids of nothing: never an error, at most one row."""
    unknown = dict.fromkeys([*names, "action_id"], str(uuid.UUID(int=7)))
    with operator(site) as ana:
        for form in BAD:
            for known in (names | {"action_id": names["job_id"]}, unknown):
                address = path.format_map(known)
                answer = ana.post(address, data=form)
                assert answer.status_code < 500, (form, answer.text[-3000:])
                assert answer.headers.get("content-type", "text/html").startswith("text/html")
        kind = {"Content-Type": "application/json"}
        garbage = ana.post(path.format_map(names | {"action_id": "x"}), content=b"\xff\xfe{", headers=kind)
        assert garbage.status_code < 500
        assert ana.post(path.replace("{", "").replace("}", ""), data={}).status_code in (404, 409, 422, 303)
    assert len(actions(site)) <= 1
