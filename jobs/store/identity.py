"""The identity of what was bought: decided in docs/decisions/0018-the-identity-of-what-was-bought.md."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, bindparam

from jobs.models import RESULTS
from jobs.states import ReturnForm

# Whose cutouts they are. One scope today, shared by all producers of an installation.
SHARED = ""


@dataclass(frozen=True, slots=True)
class Making:
    """What a cutout's identity has beside its source and form.

    `endpoint` is the address that is called, with scheme, host, port and path; `preparation` our version of
    what is done to a picture before it is sent; `bucket` the name of the bucket; `scope` whose it is.
    """

    endpoint: str
    preparation: int
    bucket: str
    scope: str = SHARED


PARTS = ("source_sha256", "return_form", "endpoint", "preparation", "bucket", "scope")


def _of(name: str) -> Any:
    return bindparam(f"of_{name}", type_=RESULTS.c[name].type)


OF = {name: _of(name) for name in PARTS}
"""Each part of an identity as a parameter."""


def is_identity(table: FromClause, *parts: str) -> ColumnElement[bool]:
    """Whether these parts of a row, or all, are those of the parameters."""
    return and_(*(table.c[name] == OF[name] for name in parts or PARTS))


IDENTITY = is_identity(RESULTS)


def identity(sha256: bytes, form: ReturnForm, making: Making) -> dict[str, object]:
    """The parameters of an identity."""
    return {
        "of_source_sha256": sha256,
        "of_return_form": form,
        "of_endpoint": making.endpoint,
        "of_preparation": making.preparation,
        "of_bucket": making.bucket,
        "of_scope": making.scope,
    }
