"""Changes of resources as JSON merge patches (RFC 7396): what is left out stays, null clears."""

from typing import Annotated, Any, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from api.schemas.batch_requests import BatchName, Weight
from api.schemas.fields import ColumnMapChange, Credits, MetadataChange
from api.schemas.schedule_requests import ScheduleRequest

# Never seen: only the given members of a patch are read.
LEFT_OUT: Any = None


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class Patch(BaseModel):
    """Members of a resource to be changed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    def applied_to(self, before: dict[str, Any]) -> dict[str, Any]:
        """The members of the resource after the change, as JSON."""
        return cast("dict[str, Any]", merged(before, self.model_dump(mode="json", exclude_unset=True)))


def merged(before: Any, change: Any) -> Any:
    """Apply a JSON merge patch to a JSON value."""
    if not isinstance(change, dict):
        return change
    found = dict(before) if isinstance(before, dict) else {}
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


class BatchPatch(Patch):
    """Members of a batch to be changed; null clears the budget, the metadata or a pair of it."""

    name: BatchName = LEFT_OUT
    weight: Weight = LEFT_OUT
    budget: Annotated[
        Credits | None,
        Field(description="Credits it may cost; raising it or lifting it needs the scope `admin`"),
    ] = LEFT_OUT
    metadata: MetadataChange = LEFT_OUT


def _of_schedule() -> type[Patch]:
    annotations = get_type_hints(ScheduleRequest, include_extras=True)
    fields: dict[str, Any] = {name: (annotations[name], LEFT_OUT) for name in ScheduleRequest.model_fields}
    fields |= {"map": (ColumnMapChange, LEFT_OUT), "metadata": (MetadataChange, LEFT_OUT)}
    return create_model(
        "SchedulePatch",
        __base__=Patch,
        __doc__="Members of a schedule to be changed; null clears one, or a pair of `map` or `metadata`.",
        **fields,
    )


SchedulePatch = _of_schedule()
