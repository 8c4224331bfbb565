"""Options for the outputs of a job or of all jobs of a batch."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from cutout.enums import Forms, ReturnForm
from cutout.outputs.recipes import RecipeError, parse_name_template, parse_outputs

FORMS, FULL_SIZE, SENT_SIZE, RENDITIONS = "form_purchase", "full_size", "sent_size", "renditions"
RECIPE, FILE = "recipe", "file"
FIELD = re.compile(r"\{([^{}]*)\}")


class OutputDefaults(Protocol):
    """Defaults of the options for outputs, such as the settings."""

    @property
    def forms(self) -> Forms: ...
    @property
    def full_size(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The purchase of the return form, the size of the outputs, and the renditions.

    With `forms` derived RGBA is bought and the return form is made of it. With `full_size` outputs are as
    large as the source. `renditions` are by name; each has its normalised `recipe`, and `file`, the template
    of its file's name, if that is not the default.
    """

    forms: Forms = Forms.DERIVED
    full_size: bool = True
    renditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def derived(self) -> bool:
        return self.forms is Forms.DERIVED

    def check_columns(self, columns: Collection[str]) -> None:
        """Raise RecipeError if a template of file names has a field that is no column of the manifest."""
        for each in self.renditions.values():
            if FILE in each:
                parse_name_template(each[FILE], columns)

    def bought_form(self, return_form: ReturnForm) -> ReturnForm:
        """The form that a call asks for."""
        return ReturnForm.RGBA if self.derived else return_form

    def most_of(self, forms: Sequence[ReturnForm]) -> int:
        """The most outputs that a job in one of these forms has, its score apart."""
        if not self.derived:
            return 0
        is_made = self.full_size or any(form is not ReturnForm.RGBA for form in forms)
        return len(self.renditions) + is_made

    def as_json(self) -> dict[str, dict[str, str]] | None:
        """The renditions as stored with a job; None without any."""
        return {name: dict(each) for name, each in self.renditions.items()} or None

    def as_options(self) -> dict[str, Any]:
        """The options as stored with an ingest: those that differ from the default."""
        return {
            **({FORMS: self.forms.value} if self.forms is not Forms.DERIVED else {}),
            **({SENT_SIZE: True} if not self.full_size else {}),
            **({RENDITIONS: self.as_json()} if self.renditions else {}),
        }

    @classmethod
    def of_options(cls, stored: Mapping[str, Any]) -> Self:
        """Restore the options that are stored with an ingest."""
        return cls(
            Forms(stored.get(FORMS, Forms.DERIVED)),
            full_size=not stored.get(SENT_SIZE, False),
            renditions=stored.get(RENDITIONS, {}),
        )


@dataclass(frozen=True, slots=True)
class RequestedOutputs:
    """Options for outputs as a request gives them: each is None where the installation's setting applies."""

    forms: Forms | None = None
    full_size: bool | None = None
    renditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def complete(self, defaults: OutputDefaults) -> OutputOptions:
        """Complete the options with the defaults (CUTOUT_FORMS, CUTOUT_FULL_SIZE).

        Raises RecipeError for renditions of forms that are bought: they are made of RGBA.
        """
        forms = defaults.forms if self.forms is None else self.forms
        if forms is Forms.BOUGHT and self.renditions:
            raise RecipeError(
                "outputs are made of RGBA, and forms=bought buys each form as it is; leave one of them out"
            )
        return OutputOptions(
            forms,
            full_size=defaults.full_size if self.full_size is None else self.full_size,
            renditions=self.renditions,
        )

    @property
    def texts(self) -> list[str]:
        """The outputs as they can be asked for again."""
        return [f"{name}: {each[RECIPE]}" for name, each in self.renditions.items()]

    @property
    def file(self) -> str | None:
        """The template of their files' names."""
        return next((each[FILE] for each in self.renditions.values() if FILE in each), None)

    def as_options(self) -> dict[str, Any]:
        """The options as stored with a schedule: those that were given."""
        given = {
            FORMS: self.forms and self.forms.value,
            FULL_SIZE: self.full_size,
            RENDITIONS: {name: dict(each) for name, each in self.renditions.items()} or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    @classmethod
    def of_options(cls, stored: Mapping[str, Any]) -> Self:
        """Restore the options that are stored with a schedule."""
        forms = stored.get(FORMS)
        return cls(None if forms is None else Forms(forms), stored.get(FULL_SIZE), stored.get(RENDITIONS, {}))


def parse_renditions(texts: Iterable[str], file: str | None = None) -> dict[str, dict[str, str]]:
    """Parse outputs such as `amazon` or `hero: canvas=1200x1200`, and the template of their files' names.

    A template may name any column of the manifest. Raises RecipeError.
    """
    recipes = parse_outputs(texts)
    if file is not None and not recipes:
        raise RecipeError("a template of file names without outputs; name outputs too, such as amazon")
    if file is not None:
        parse_name_template(file, columns_in(file), outputs=len(recipes))
    named = {} if file is None else {FILE: file}
    return {name: {RECIPE: recipe.text, **named} for name, recipe in recipes.items()}


def columns_in(file: str) -> set[str]:
    """The fields of a template."""
    return set(FIELD.findall(file))
