"""The body of a request, read within limits: its bytes, its seconds, and what all bodies together hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect

from helpers.server.wire import FEWER, ApiError, gone_away

AT_ONCE = 64  # bodies of full size that all requests together may hold
SMALL = 16_384  # bytes that always find room, so that large bodies never keep short texts out
HEARD = 8  # times the limit that is read to its end, so that the client hears the answer


class Bodies:
    """What the bodies of all open requests hold.

    Attributes:
        limit: bytes a body.
        seconds: from a request's headers to the end of its body.
        held: bytes in memory now.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit, self.seconds, self.held = limit, seconds, 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, counted as held until the block ends.

        Raises:
            ApiError: 408 too slow, 413 too large, 429 no memory for it, 499 its client went away.
        """
        chunks: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(self.seconds):
                    await self._fill(chunks, request)
            except TimeoutError:
                message = f"The body didn't arrive within {self.seconds:g} s; {FEWER}."
                raise ApiError(408, message, code="body_too_slow", Connection="close") from None
            except ClientDisconnect:
                raise gone_away() from None
            yield b"".join(chunks)
        finally:
            self.held -= sum(map(len, chunks))

    async def _fill(self, chunks: list[bytes], request: Request) -> None:
        declared, size = request.headers.get("content-length", ""), 0
        if not (declared.isdigit() and int(declared) > HEARD * self.limit):
            async for chunk in request.stream():
                size += len(chunk)
                if size > HEARD * self.limit:
                    break
                if size > self.limit:
                    continue
                if size > SMALL and self.held + len(chunk) > AT_ONCE * self.limit:
                    message = "Too many large requests are being read; try again in 1 s, or send smaller ones."
                    raise ApiError(429, message, code="queue_full", Retry_After="1", Connection="close")
                self.held += len(chunk)
                chunks.append(chunk)
            if size <= self.limit:
                return
        raise ApiError(413, f"The body is larger than {self.limit} bytes; {FEWER}.", Connection="close")
