"""Options for outputs, which requests about jobs, batches and schedules share."""

from typing import Annotated, Self

from annotated_types import Len
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from api.schemas.fields import PlainText
from cutout.enums import Forms
from cutout.outputs.options import RequestedOutputs, parse_renditions
from cutout.outputs.recipes.output import MOST_OUTPUTS

FULL_SIZE = Field(
    description="Whether outputs are as large as the source, not as what was sent to the endpoint."
    " Null for the installation's setting"
)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


# A preset, then words that change it, or a name, a colon and a recipe: see docs/reference/outputs.md.
Outputs = Annotated[
    list[
        Annotated[
            PlainText,
            Field(
                max_length=500,
                examples=["amazon", "hero: canvas=1200x1200 background=#eeeeee"],
            ),
        ]
    ],
    BeforeValidator(_listed),
    Field(
        max_length=MOST_OUTPUTS,
        description="Renditions that are made of each cutout: presets, or recipes with names",
    ),
]
FileName = Annotated[
    PlainText | None,
    Field(
        max_length=300,
        examples=["{external_id}.{rendition}.{ext}"],
        description="Template of the renditions' file names; columns of the manifest are fields of it too",
    ),
]


class OutputFields(BaseModel):
    """Options for outputs: null where the installation's setting applies."""

    forms: Annotated[
        Forms | None,
        Field(
            description="`derived`: RGBA is bought once for a picture, and its forms are made of it;"
            " `bought`: each form is bought. Null for the installation's setting"
        ),
    ] = None
    full_size: Annotated[bool | None, FULL_SIZE] = None
    outputs: Outputs = []
    file_name: FileName = None

    @model_validator(mode="after")
    def _check_outputs(self) -> Self:
        parse_renditions(self.outputs, self.file_name)
        return self

    def requested_outputs(self) -> RequestedOutputs:
        return RequestedOutputs(self.forms, self.full_size, parse_renditions(self.outputs, self.file_name))


class RenditionsRequest(BaseModel):
    """Renditions for a batch that exists."""

    model_config = ConfigDict(extra="forbid")

    outputs: Annotated[Outputs, Len(1)]
    file_name: FileName = None

    @model_validator(mode="after")
    def _check_outputs(self) -> Self:
        parse_renditions(self.outputs, self.file_name)
        return self

    def renditions(self) -> dict[str, dict[str, str]]:
        return parse_renditions(self.outputs, self.file_name)
