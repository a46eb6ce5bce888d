"""Whoever waits for an answer: nothing more is done for a client that went away."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar

from fastapi import Request

from helpers.server.wire import gone_away

T = TypeVar("T")


class Caller:
    """The client of a request whose body was read; a context, within which its going away is seen."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def __aenter__(self) -> Self:
        """Look for the disconnect from now on."""
        self._gone = asyncio.ensure_future(self._disconnect())
        await asyncio.sleep(0)  # one turn of the loop, in which a disconnect that has come already is seen
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look no more."""
        self._gone.cancel()

    async def _disconnect(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    def check(self) -> None:
        """Raise ApiError 499 if the client has gone."""
        if self._gone.done():
            raise gone_away()

    async def wait(self, work: Awaitable[T]) -> T:
        """The result of work; it is cancelled, and ApiError 499 raised, if the client goes away first."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task, self._gone], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise gone_away()
            return task.result()
        finally:
            task.cancel()
