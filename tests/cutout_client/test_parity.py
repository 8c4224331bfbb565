"""The client beside the API: every operation has a call, and both clients have every call."""

import importlib
import inspect
import pkgutil

import cutout_client.calls
from api.app import create_app
from cutout.settings import Settings
from cutout_client import AsyncClient, Client
from cutout_client.route import Route

# Not of a producer's work: HEAD and OPTIONS are the transport's, and these pages are for people.
METHODS = {"get", "post", "patch", "put", "delete"}


def routes() -> set[tuple[str, str]]:
    """Method and path of each route that the client has."""
    modules = [
        importlib.import_module(f"cutout_client.calls.{each.name}")
        for each in pkgutil.iter_modules(cutout_client.calls.__path__)
    ]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Route)]
    return {(route.method.lower(), route.path) for route in found}


def test_every_operation_has_a_call(settings: Settings) -> None:
    """And no call is of an operation that there is not."""
    operations = {
        (method, path)
        for path, found in create_app(settings).openapi()["paths"].items()
        for method in METHODS & found.keys()
        if path.startswith("/v1/")
    }
    assert routes() == operations


def calls_of(client: object) -> dict[str, str | None]:
    """The calls of a client with their docstrings, by resource and name."""
    found = {}
    for resource, held in [("", client), *vars(client).items()]:
        for name, value in inspect.getmembers(held):
            if callable(value) and not name.startswith("_") and name != "close":
                found[f"{resource}.{name}"] = inspect.getdoc(value)
    return found


def test_both_clients_have_the_same_calls() -> None:
    """Each with a docstring, and under the same name."""
    blocking, other = (calls_of(make("https://cutout.example", "key")) for make in (Client, AsyncClient))
    mine = {name: doc for name, doc in blocking.items() if not name.startswith("transport.")}
    theirs = {name: doc for name, doc in other.items() if not name.startswith("transport.")}
    assert mine == theirs
    assert len(mine) > 50
    assert all(mine.values())
