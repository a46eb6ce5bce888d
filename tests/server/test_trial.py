"""What lesson 11 starts its servers with: bounded, on this machine alone, and clear where one doesn't start."""

from pathlib import Path

import psutil
import pytest

from helpers.errors import CourseError
from helpers.server.trial import load_test, serving

APP = """
from fastapi import FastAPI
from pydantic import BaseModel
app = FastAPI()
class Texts(BaseModel):
    texts: list[str]
@app.post("/count")
def count(request: Texts):
    return len(request.texts)
"""


def test_a_server_answers_its_clients_is_measured_and_is_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(APP, encoding="utf-8")
    with serving("counting:app", path=str(tmp_path)) as server:
        found = load_test(server, ["a text"] * 12, 3, route="/count", field="texts")
        wrong = load_test(server, ["a text"] * 4, 2, route="/count", field="text")
        process = server[1]
        listening = {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    assert (found["answered"], found["clients"], wrong["answered"]) == (1, 3, 0)
    assert found["texts/s"] > 0 and found["memory (MB)"] > 1 and found["p50 (ms)"] <= found["p90 (ms)"]
    assert listening == {"127.0.0.1"} and not process.is_running()


def test_one_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(CourseError, match=r"its log ends(.|\n)*(No module named|Could not import)"),
        serving("not_there:app", path=str(tmp_path)),
    ):
        pass
