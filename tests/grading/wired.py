"""A submission without a notebook: functions of a test, in a process of their own, behind the grader's wire."""

import multiprocessing
import socket
import sys
from typing import Any

from tools.grading import remote
from tools.grading.inside import wire
from tools.grading.sandbox import Limits, Rooms

sys.modules["wire"] = wire  # as in the sandbox, where the probe's folder is on the path
from tools.grading.inside import probe  # noqa: E402


class Wired(remote.Submission):
    """Serves `functions`, by name, from a forked process."""

    def __init__(self, functions: dict[str, Any], rooms: Rooms) -> None:
        super().__init__([], Limits(), rooms)
        self.names = functions

    def __enter__(self) -> "Wired":
        self.connection, theirs = socket.socketpair()
        self.server = multiprocessing.get_context("fork").Process(target=self._serve, args=(theirs,))
        self.server.start()
        theirs.close()
        self.functions = []
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.server.kill()
        self.server.join()

    def _serve(self, theirs: socket.socket) -> None:
        self.connection.close()
        probe.serve(probe.Grader(theirs, self.rooms.models), self.names)
