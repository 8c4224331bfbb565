"""Requests of actions, for tests that need somebody who asks."""

from cutout.actions import Actor, Asked
from cutout.enums import Role

COMMAND = Asked(Actor(Role.COMMAND, "root"))
