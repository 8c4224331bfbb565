"""The last hour by minute: its calls, or the ends of jobs, as a chart and in numbers."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Uuid, bindparam, text

from console.background import Aged
from console.charts import Chart, Column, chart
from console.console import Console
from cutout.billing.recent_calls import MinuteOfCalls

MINUTES = 60
TEN = 10
EVERY_S = 10.0
NEWEST_BATCHES = 50

# By the index of a batch's ended jobs alone; minutes without one are in it.
ENDED_BY_MINUTE = text("""
    WITH span AS (SELECT date_trunc('minute', now()) AS last),
    newest AS (SELECT id FROM batches WHERE producer_id = :producer ORDER BY id DESC LIMIT :batches),
    ends AS (
        SELECT date_trunc('minute', finished_at) AS minute, count(*) AS jobs
        FROM newest JOIN jobs ON jobs.batch_id = newest.id
        WHERE finished_at >= (SELECT last FROM span) - make_interval(mins => :minutes - 1)
        GROUP BY 1
    )
    SELECT minute, coalesce(jobs, 0) AS jobs
    FROM span, generate_series(last - make_interval(mins => :minutes - 1), last, '1 minute') AS minute
    LEFT JOIN ends USING (minute)
    ORDER BY minute
""").bindparams(bindparam("producer", type_=Uuid))


@dataclass(frozen=True, slots=True)
class Ten:
    """Ten minutes, for the table beside the chart; `slow` calls were answered that they come too fast."""

    begins_at: datetime
    number: int
    slow: int


@dataclass(frozen=True, slots=True)
class LastHour:
    """A chart, and its table with the latest first."""

    chart: Chart
    tens: Sequence[Ten]


def chart_hour(minutes: Sequence[MinuteOfCalls], what: str) -> LastHour | None:
    """The chart of these minutes, the oldest first; None if nothing was done in them."""
    columns = [
        Column(
            (("begun", each.begun - each.slow), ("slow", each.slow)),
            f"{each.minute:%H:%M}: {each.begun:,} {what}"
            + (f", {each.slow:,} too fast" if each.slow else ""),
        )
        for each in minutes
    ]
    found = chart(columns)
    if not found.bars:
        return None
    parts = [minutes[at : at + TEN] for at in range(0, len(minutes), TEN)]
    tens = [
        Ten(part[0].minute, sum(each.begun for each in part), sum(each.slow for each in part))
        for part in reversed(parts)
    ]
    return LastHour(found, tens)


def ends_of(console: Console, producer_id: uuid.UUID) -> Aged[Sequence[MinuteOfCalls]]:
    """The jobs of a producer's newest batches that ended, by minute."""

    def count(engine: Engine) -> Sequence[MinuteOfCalls]:
        asked = {"producer": producer_id, "batches": NEWEST_BATCHES, "minutes": MINUTES}
        with engine.connect() as connection:
            return [
                MinuteOfCalls(row.minute, row.jobs, 0) for row in connection.execute(ENDED_BY_MINUTE, asked)
            ]

    return console.looks.look(("ends", producer_id), count, every_s=EVERY_S, of=producer_id)
