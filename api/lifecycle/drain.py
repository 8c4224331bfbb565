"""The end of the process, announced: for some seconds it serves on and says that it is not ready."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutout.monitoring.check import Check

# Of a request's state, as the lifespan gives it.
LEAVING = "leaving"


class Leaving:
    """Whether this process has been asked to end."""

    def __init__(self) -> None:
        self.begun = False

    def checks(self) -> list[Check]:
        """A check that is wrong once it has begun; nothing before."""
        found = "this process was told to end, and takes requests for some seconds more"
        return [Check("stopping", ok=False, found=found)] if self.begun else []


class CloseWhenLeaving:
    """ASGI middleware: a process that leaves closes each connection after its answer.

    So clients that keep connections go elsewhere before it takes none any more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving: Leaving | None = scope.get("state", {}).get(LEAVING)
        if scope["type"] != "http" or leaving is None:
            await self.app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if leaving.begun and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, closing)
