"""Events of a batch as a stream that continues over broken connections."""

import json

import httpx

from cutout_client.calls.files import file_route
from cutout_client.decode import read
from cutout_client.errors import BrokenAnswerError, NoAnswerError
from cutout_client.retries import Retries
from cutout_client.sse import EventParser, ServerEvent
from cutout_client.steps import Answer, Close, Flow, Item, Items, Read, Send, Sleep
from cutout_client.views.batches import Batch, BatchEvent, EndedJob

EVENTS = file_route("/v1/batches/{batch_id}/events")
NO_CONTENT = 204
LAST = "rendered"
# The API sends a comment every 15 s.
SILENCE_S = 45.0


def events(batch_id: str, *, after: str | None = None, retries: Retries | None = None) -> Items[BatchEvent]:
    """Yield the events of a batch: jobs as they end, its progress, and its end; then the iteration ends.

    It continues behind the last event over broken connections, also `after` the `id` of an event that an
    earlier program took. Each job comes at least once. Raises NoAnswerError if `retries` in a row bring
    nothing.
    """
    limits = retries or Retries()
    barren = 0
    while True:
        headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": after})
        request = EVENTS.request(batch_id, headers=headers, wait_s=SILENCE_S)
        answer: Answer = yield Send(request, streamed=True)
        EVENTS.read(answer)
        if answer.status == NO_CONTENT:
            return
        parser = EventParser()
        while piece := (yield from _piece(answer)):
            for event in parser.feed(piece):
                barren = 0
                after = event.id if event.id is not None else after
                yield Item(_event_of(event))
                if event.name == LAST:
                    return
        yield Close(answer)
        barren += 1
        if barren >= limits.tries:
            raise NoAnswerError(
                f"the stream of events broke off {barren} times without an event; go on later"
            )
        yield Sleep(limits.wait_s(barren))


def _piece(answer: Answer) -> Flow[bytes]:
    """The next piece; empty at the end of the stream, and where it breaks off."""
    try:
        piece: bytes = yield Read(answer)
    except httpx.TransportError:
        return b""
    return piece


def _event_of(event: ServerEvent) -> BatchEvent:
    try:
        data = json.loads(event.data)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BrokenAnswerError(f"the event {event.name!r} has no JSON object as its data")
    if event.name == "job":
        return BatchEvent(event.name, event.id, job=read(EndedJob, data, event.name), raw=data)
    of_batch = event.name in ("progress", "finished", LAST)
    batch = read(Batch, data, event.name) if of_batch else None
    return BatchEvent(event.name, event.id, batch=batch, raw=data)
