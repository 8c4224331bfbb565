"""Preparation of an installation: the schema, the bucket, a producer with a key.

`cutout up` imports it while the servers start: that takes a second or two.
"""

import socket
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.orm import Session

from cli.actor import asked
from cli.database import plain_errors
from cli.stack import StackError
from cutout.actions.keys import renew_key
from cutout.enums import Scope
from cutout.models.database import connect
from cutout.settings import PREFIX, Settings, load_settings
from cutout.storage import Bucket, StorageError
from migrations.run import UnknownSchemaError, upgrade


def install(environment: Mapping[str, str], data_dir: Path) -> tuple[Settings, str]:
    """Make the schema, the bucket and a producer; the settings, and a key in place of the last start's.

    Raises StackError.
    """
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    settings = load_settings(**given)
    try:
        with plain_errors():
            return settings, _install(settings, data_dir)
    except (StorageError, UnknownSchemaError) as error:
        raise StackError(str(error)) from error


def _install(settings: Settings, data_dir: Path) -> str:
    engine = connect(settings.database_url.get_secret_value(), connections=1, name="cutout-up")
    upgrade(engine)
    Bucket(settings).create()
    with Session(engine) as session, session.begin():
        # Named by the data directory, since others may use the same database.
        name = f"{socket.gethostname()}:{data_dir}"
        _, key = renew_key(session, asked(), "this machine", name, scopes=list(Scope))
    engine.dispose()
    return key
