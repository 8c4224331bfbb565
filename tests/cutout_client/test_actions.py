"""Changes of a whole batch, which go on by themselves."""

import pytest

import cutout_client
from cutout_client import Client, NewJob
from tests.cutout_client.conftest import SOURCE


def test_are_listed_with_their_batch(cutout: Client) -> None:
    """Nobody carries them out here: the batch is not done."""
    batch = cutout.batches.create("spring", [NewJob("a", SOURCE)])
    cancelled = cutout.batches.cancel(batch.id)
    (action,) = cancelled.actions
    assert (action.kind, action.changed, action.finished_at) == ("cancel", 0, None)
    assert (cancelled.state, cancelled.needs_nobody) == ("cancelling", True)
    assert [each.id for each in cutout.batches.actions(batch.id)] == [action.id]
    with pytest.raises(cutout_client.NotDoneError):
        cutout.batches.wait(batch.id, timeout_s=1)
    with pytest.raises(cutout_client.ConflictError, match="wrong-state"):
        cutout.batches.delete(batch.id)


def test_a_batch_without_jobs_is_deleted(cutout: Client) -> None:
    """It is deleting, then not found."""
    batch = cutout.batches.create("empty")
    assert cutout.batches.delete(batch.id, objects=True).state == "deleting"
