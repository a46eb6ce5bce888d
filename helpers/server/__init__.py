"""An embedding server with OpenAI's API: `uvicorn helpers.server:create_app --factory`.

One model, one worker thread (`batcher`), limits on everything that a client can send, metrics for Prometheus,
logs in JSON without the texts. Every field of `Settings` is an environment variable with the prefix EMBED_.
"""

from helpers.server.app import create_app
from helpers.server.settings import Settings

__all__ = ["Settings", "create_app"]
