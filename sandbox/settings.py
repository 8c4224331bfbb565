"""Settings that are given at start and may be changed while the sandbox runs."""

from pydantic import BaseModel, ConfigDict, Field

from sandbox.envelope import Shape
from sandbox.error_codes import Statuses

DAY = 86_400.0


class Settings(BaseModel):
    """Behaviour of the sandbox. Durations are in seconds; a limit of None is no limit."""

    model_config = ConfigDict(extra="forbid")

    latency: float = Field(default=2.1, ge=0, description="median seconds of a call; 0 answers at once")
    latency_spread: float = Field(default=0.25, ge=0, le=3, description="sigma of the log-normal latency")
    url_lifetime: float = Field(default=DAY, ge=0, description="seconds until a result URL answers 404")
    results_url: str | None = Field(
        default=None, description="base of the result URLs, if not the address that was called"
    )
    envelope: Shape = Field(default="page", description="the JSON around every answer")
    statuses: Statuses = Field(default="current", description="HTTP statuses of the error codes")
    calls_per_second: float | None = Field(default=None, gt=0, description="limit of each account")
    calls_in_flight: int | None = Field(default=None, gt=0, description="limit of each account")


class SettingsChange(Settings):
    """A partial `Settings`: what is not named stays. `credits` sets balances, and makes new accounts."""

    credits: dict[str, float] = Field(default_factory=dict)

    def applied_to(self, settings: Settings) -> Settings:
        return settings.model_copy(update=self.model_dump(exclude={"credits"}, exclude_unset=True))
