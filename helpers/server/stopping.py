"""How the server ends at SIGTERM: for a second it goes on answering, and each answer closes its connection.

A client that keeps its connection learns so from its last answer, and doesn't meet a closed one. Then uvicorn
accepts nothing more and finishes what was accepted.
"""

import asyncio
import signal
import threading
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 1.0
CLOSE = (b"connection", b"close")


class Stopping:
    """Whether the server is ending."""

    def __init__(self) -> None:
        self.now = False

    def listen(self) -> None:
        """Come before uvicorn's handler of SIGTERM; within the running event loop of the main thread, else nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop, uvicorns = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        def end() -> None:
            if callable(uvicorns):
                uvicorns(signal.SIGTERM, None)

        def stop(_: int, __: FrameType | None) -> None:
            first, self.now = not self.now, True
            loop.call_soon_threadsafe(loop.call_later, SECONDS if first else 0, end)

        if callable(uvicorns):
            signal.signal(signal.SIGTERM, stop)


class LastAnswers:
    """Puts `Connection: close` on every answer once the server is ending."""

    def __init__(self, app: ASGIApp, stopping: Stopping) -> None:
        self.app, self.stopping = app, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and close its connection with the answer if it is the last."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self.stopping.now:
                kept = [header for header in message.get("headers", ()) if header[0].lower() != CLOSE[0]]
                message = {**message, "headers": [*kept, CLOSE]}
            await send(message)

        await self.app(scope, receive, closing)
