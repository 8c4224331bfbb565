"""Rights to add work: by scope of a producer, and for operators."""

from sqlalchemy.orm import Session

from cutout.enums import OperatorScope, Scope
from cutout.producers.api_keys import make_operator_key
from cutout.settings import Settings
from cutout.storage import Bucket
from tests.console.conftest import Site, signed_in
from tests.console.forms import CSV, JPEG, batch_of, form, nothing_is_left, read, send, shown_on, told


class TestRights:
    """Rights to add, approve and discard."""

    def test_scopes_of_a_producer(self, site: Site, settings: Settings, bucket: Bucket) -> None:
        """To look needs `read`, to add and discard `enqueue`, to approve `admin`; others see nothing."""
        with signed_in(site, site.make_key("viewer", Scope.READ)[1]) as viewer:
            assert "Add work" not in viewer.get("/console").text
            assert viewer.get("/console/add").status_code == 403
            assert send(viewer, form(), ("a.csv", CSV)).status_code == 403
        assert nothing_is_left(site, bucket)
        with signed_in(site, site.make_key("adder", Scope.READ, Scope.ENQUEUE)[1]) as adder:
            batch_id = batch_of(send(adder, form(), ("a.csv", CSV)))
            read(site, settings, bucket)
            page = adder.get(f"/console/batches/{batch_id}").text
            assert "needs a key with the right" in page
            shown = shown_on(page)
            assert adder.post(f"/console/batches/{batch_id}/approve", data=shown).status_code == 403
            with signed_in(site, site.key) as other:
                for path in ("", "/rejects"):
                    assert other.get(f"/console/batches/{batch_id}{path}").status_code == 404
                for act in ("approve", "discard"):
                    answer = other.post(f"/console/batches/{batch_id}/{act}", data=shown)
                    assert answer.status_code == 404
            assert adder.post(f"/console/batches/{batch_id}/discard", data=shown).status_code == 303
        assert site.scalar("SELECT count(*) FROM actions WHERE kind = 'cancel'") == 1

    def test_operators_choose_a_producer(self, site: Site, settings: Settings, bucket: Bucket) -> None:
        """An operator adds for a producer, also from a bucket; to approve needs the right to spend."""
        for number in range(2):
            bucket.put_cutout(JPEG + bytes([number]), key=f"in/{number}.jpg", media_type="a/b", metadata={})
        with signed_in(site, operator_key(site, OperatorScope.OPERATE)) as operator:
            prefix = f"s3://{bucket.name}/in/"
            assert "no such producer" in told(send(operator, form(url=prefix)))
            bad = form(url="s3://another/in/", producer=str(site.producer_id))
            assert "another" in told(send(operator, bad))
            fields = form(url=prefix, producer=str(site.producer_id))
            batch_id = batch_of(send(operator, fields))
            assert site.scalar("SELECT producer_id FROM batches") == site.producer_id
            read(site, settings, bucket)
            assert site.scalar("SELECT count(*) FROM jobs") == 2
            shown = shown_on(operator.get(f"/console/batches/{batch_id}").text)
            approve = f"/console/batches/{batch_id}/approve"
            assert operator.post(approve, data=shown | {"most": "2"}).status_code == 403
        with signed_in(site, operator_key(site, OperatorScope.SPEND)) as spender:
            shown = shown_on(spender.get(f"/console/batches/{batch_id}").text)
            assert spender.post(approve, data=shown).status_code == 303
        row = "SELECT string_agg(concat_ws(' ', kind, actor_role, credits), ', ' ORDER BY id) FROM actions"
        assert site.scalar(row) == "add_batch operator, approve operator 2"

    def test_a_viewing_operator_adds_nothing(self, site: Site, bucket: Bucket) -> None:
        """An operator's key that may only look is refused."""
        with signed_in(site, operator_key(site, OperatorScope.VIEW)) as operator:
            fields = form(producer=str(site.producer_id))
            assert send(operator, fields, ("a.csv", CSV)).status_code == 403
        assert nothing_is_left(site, bucket)


def operator_key(site: Site, scope: OperatorScope) -> str:
    """A key of an operator who may do so much."""
    with Session(site.engine) as session, session.begin():
        return make_operator_key(session, f"ana {scope}", scopes=[scope])[1]
