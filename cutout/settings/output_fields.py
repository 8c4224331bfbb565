"""Settings of outputs, which a producer that shares the database reads without the others."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from cutout.enums import Forms
from cutout.settings.validators import PREFIX

FormsField = Annotated[
    Forms,
    Field(
        description="derived: RGBA is bought once, other forms are made of it; bought: each form is bought"
    ),
]
FullSizeField = Annotated[
    bool, Field(description="Whether outputs are as large as the source, beyond the endpoint's 1999 pixels")
]


class OutputSettings(BaseSettings):
    """Defaults of the options for outputs; all settings have the same fields."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    forms: FormsField = Forms.DERIVED
    full_size: FullSizeField = True
