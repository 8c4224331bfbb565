"""A router for a screen."""

from fastapi import APIRouter

from console.guarded_route import GuardedRoute


def screen_router() -> APIRouter:
    """A router whose routes know who asks."""
    return APIRouter(route_class=GuardedRoute, include_in_schema=False)
