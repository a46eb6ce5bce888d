"""What the server tells those who run it: figures for Prometheus, and a log in JSON that holds no text."""

import json
import logging
import sys
import time
import traceback

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Else each series says when it began: twice the lines, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """What /metrics shows, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        small, large = [1, 2, 4, 8, 16, 32, 64, 128, 256], [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
        by, times = ["route", "status"], [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
        self.requests = Counter("embed_requests", "Requests by route and status", by, registry=registry)
        self.texts = Counter("embed_texts", "Texts answered", registry=registry)
        self.tokens = Counter("embed_tokens", "Tokens answered", registry=registry)
        self.truncated = Counter("embed_truncated_texts", "Texts that were cut", registry=registry)
        self.not_finite = Counter("embed_not_finite_texts", "Texts without a finite vector", registry=registry)
        self.abandoned = Counter("embed_abandoned_requests", "Requests whose client went away", registry=registry)
        self.queue = Gauge("embed_queue_tokens", "Tokens accepted and not yet encoded", registry=registry)
        self.ready = Gauge("embed_ready", "1 if the model is ready and its worker runs", registry=registry)
        self.batch_texts = Histogram("embed_batch_texts", "Texts a batch", buckets=small, registry=registry)
        self.batch_tokens = Histogram("embed_batch_tokens", "Tokens a batch", buckets=large, registry=registry)
        self.seconds = Histogram("embed_request_seconds", "Seconds to the answer", by, buckets=times, registry=registry)

    def batch(self, texts: int, tokens: int) -> None:
        """Note one batch."""
        self.batch_texts.observe(texts)
        self.batch_tokens.observe(tokens)

    def exposition(self) -> bytes:
        """The figures as text, in Prometheus' format."""
        return generate_latest(self.registry)


class Counted:
    """Counts and times every request outside the routes, so that one refused before its route is counted too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its route and status."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            # The route's pattern, never the path: strangers would choose the labels.
            labels = getattr(scope.get("route"), "path", "none"), status
            self.metrics.requests.labels(*labels).inc()
            self.metrics.seconds.labels(*labels).observe(time.perf_counter() - start)


class JsonLines(logging.Formatter):
    """One JSON object a line; of an exception its kind and place, never its message, which may quote a text."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as JSON."""
        line = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower()}
        line |= {"logger": record.name, "message": record.getMessage()} | getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["trace"] = "".join(traceback.format_tb(record.exc_info[2]))
        return json.dumps(line)


def log_json() -> None:
    """Send the server's and uvicorn's logs to standard output as JSON; requests are logged here, not by uvicorn."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for name in ("helpers.server", "uvicorn"):
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).propagate = False
    logging.getLogger("uvicorn.error").handlers = []
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("helpers.server").setLevel(logging.INFO)
