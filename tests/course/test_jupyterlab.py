"""Lessons and an exercise in JupyterLab itself, as a reader has them: in a browser, by mouse and keyboard.

The notebooks share one kernel, to spare its imports; that each runs in its own is seen by nbval. Screenshots are left
in results/screenshots.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tools.build import ROOT

pytest_plugins = ["tests.course.browser"]

SCREENSHOTS = ROOT / "results" / "screenshots"
NOTEBOOKS = ("notebooks/00_start_here", "notebooks/01_sentence_transformers", "notebooks/12_costs")
EXERCISE = "exercises/12_costs/12_costs"
SOLVED = "monthly_bill"  # the cell that is solved, task 12.1
SHORT, LONG = 60_000, 300_000  # ms; what loads or redraws, and what a whole notebook may take on a slow machine
SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden)"
FAILED = "[data-mime-type='application/vnd.jupyter.error']"
SETTINGS = {"fetchNews": "false", "checkForUpdates": False}  # it asks at the first start, and would use the network


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where, its token and its one kernel; the folder it serves; the record of progress."""

    address: str
    token: str
    kernel: str
    root: Path
    progress: Path


def post(address: str, token: str, path: str, content: object) -> dict[str, str]:
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/{path}", json.dumps(content).encode(), headers)
    with urllib.request.urlopen(request, timeout=SHORT / 1000) as answer:
        answered: dict[str, str] = json.load(answer)
    return answered


def without_outputs(name: str, folder: Path) -> None:
    """Copy a notebook, so that what is seen later was made there."""
    notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    place = folder / f"{name}.ipynb"
    place.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, place)


def end(server: subprocess.Popen[bytes]) -> None:
    """End the server, its kernels and what these started."""
    family = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.terminate()
    _gone, left = psutil.wait_procs([*family, psutil.Process(server.pid)] if family else family, timeout=20)
    for process in left:
        process.kill()
    server.wait(timeout=20)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    base = tmp_path_factory.mktemp("lab")
    root, settings, token = base / "course", base / "settings", secrets.token_hex()
    for name in (*NOTEBOOKS, EXERCISE):
        without_outputs(name, root)
    shutil.copy(ROOT / "course.toml", root)
    own = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps(SETTINGS), encoding="utf-8")
    places = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
        "IPYTHONDIR",
    )
    environment = os.environ | {name: str(base / name.lower()) for name in places}
    environment |= {
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "EMBEDDING_COURSE_PROGRESS": str(base / "progress.json"),
        "OMP_NUM_THREADS": "1",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root"]
    options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
    options += ["--LanguageServerManager.autodetect=False"]  # spare the search for language servers
    with (base / "log.txt").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], cwd=root, env=environment, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(int(SHORT / 1000 * 2)):
                try:
                    kernel = post(address, token, "kernels", {"name": "python3"})
                    break
                except OSError:
                    assert server.poll() is None, (base / "log.txt").read_text(encoding="utf-8")[-2000:]
                    time.sleep(0.5)
            else:
                pytest.fail(f"JupyterLab starts no kernel: {(base / 'log.txt').read_text(encoding='utf-8')[-2000:]}")
            yield Lab(address, token, kernel["id"], root, base / "progress.json")
        finally:
            end(server)


@pytest.fixture(scope="module")
def window(browser: Browser, lab: Lab) -> Iterator[Page]:
    """JupyterLab, loaded once; each notebook is a tab in it."""
    with browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce") as opened:
        opened.set_default_timeout(SHORT)
        expect.set_options(timeout=SHORT)
        opened.goto(f"{lab.address}/lab?token={lab.token}")
        yield opened


@pytest.fixture
def page(window: Page, request: pytest.FixtureRequest) -> Iterator[Page]:
    """What it shows in the end is kept, however the test went."""
    yield window
    keep(window, request.node.name.removeprefix("test_"))


def keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def open_and_run(page: Page, lab: Lab, name: str) -> Locator:
    """Open a notebook in JupyterLab and choose Run, Run All Cells; returns it, executed without an error."""
    path = f"{name}.ipynb"
    session = {"path": path, "name": path, "type": "notebook", "kernel": {"id": lab.kernel}}
    post(lab.address, lab.token, "sessions", session)
    source = nbformat.read(lab.root / path, as_version=4)
    menu(page, "File", "Open from Path…")
    page.get_by_placeholder("/path/relative/to/jlab/root").fill(path)
    page.keyboard.press("Enter")
    notebook = page.locator(SHOWN)
    expect(notebook.locator("h1").first).to_contain_text(source.cells[0].source.splitlines()[0].removeprefix("# "))
    expect(notebook.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle")
    menu(page, "Run", "Run All Cells")
    page.wait_for_function(
        """([shown, failed]) => {
            const notebook = document.querySelector(shown)
            const cells = [...notebook.querySelectorAll(".jp-CodeCell")]
            const done = cell => /\\[\\d+\\]/.test(cell.querySelector(".jp-InputPrompt")?.textContent)
            return notebook.querySelector(failed) || (cells.length && cells.every(done))
        }""",
        arg=[SHOWN, FAILED],
        polling=500,  # ms; it would look at every frame
        timeout=LONG,
    )
    assert notebook.locator(FAILED).all_inner_texts() == []
    assert notebook.locator(".jp-CodeCell").count() == sum(cell.cell_type == "code" for cell in source.cells)
    return notebook


def menu(page: Page, name: str, entry: str) -> None:
    page.locator(".lm-MenuBar-item").get_by_text(name, exact=True).click()
    page.locator(".lm-Menu-item").get_by_text(entry, exact=True).click()


def cell(notebook: Locator, text: str) -> Locator:
    """The first code cell whose source has this text."""
    return notebook.locator(".jp-CodeCell").filter(has=notebook.page.locator(".cm-content", has_text=text)).first


def assert_drawn(images: Locator) -> None:
    """There are images, and the browser could draw each."""
    images.first.scroll_into_view_if_needed()
    widths = images.evaluate_all("images => images.map(image => image.naturalWidth)")
    assert widths and all(widths)


@pytest.mark.execution
def test_the_first_lesson_finds_the_machine_ready_and_draws_the_map(page: Page, lab: Lab) -> None:
    notebook = open_and_run(page, lab, NOTEBOOKS[0])
    expect(cell(notebook, "doctor.findings()")).to_contain_text("Nothing stands in the way.")
    assert_drawn(notebook.locator(".jp-OutputArea-output img"))
    assert json.loads(lab.progress.read_bytes())["01.1"] in ("wrong", "right")  # its check is a reader's first


@pytest.mark.execution
def test_lesson_01_runs_to_its_end_and_draws_its_figures(page: Page, lab: Lab) -> None:
    notebook = open_and_run(page, lab, NOTEBOOKS[1])
    assert_drawn(notebook.locator(".jp-OutputArea-output img"))


def test_the_cost_panel_answers_to_the_arrow_keys(page: Page, lab: Lab) -> None:
    notebook = open_and_run(page, lab, NOTEBOOKS[2])
    assert_drawn(notebook.locator(".jp-OutputArea-output > img, .jp-RenderedImage img"))
    panel = cell(notebook, "plots.panel(").locator(".jp-OutputArea-output")
    said, drawn = panel.locator("p"), panel.get_by_alt_text("cost against volume")
    assert_drawn(drawn)
    text, picture = said.inner_text(), drawn.get_attribute("src") or ""
    keep(page, "cost_panel_before")
    slider = panel.locator(".widget-slider", has_text="texts a month")
    slider.locator(".noUi-handle").focus()
    for _ in range(6):  # steps of 0.05 on a log scale: from 100 million to 200 million
        page.keyboard.press("ArrowRight")
    expect(said).to_contain_text("At 200M texts a month")
    assert said.inner_text() != text
    expect(drawn).not_to_have_attribute("src", picture)
    assert_drawn(drawn)


def test_an_exercise_is_solved_by_typing_and_saved_and_its_progress_kept(page: Page, lab: Lab) -> None:
    notebook = open_and_run(page, lab, EXERCISE)
    expect(notebook.get_by_text("not attempted yet")).to_have_count(3)
    keep(page, "exercise_untouched")

    solved = source(ROOT / "solutions" / Path(EXERCISE).relative_to("exercises"))
    solution = "\n".join(line for line in solved.splitlines() if "###" not in line)  # without nbgrader's marks
    stub = source(lab.root / EXERCISE).removesuffix("raise NotImplementedError")
    assert solution.startswith(stub)
    cell(notebook, f"def {SOLVED}").locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+End")
    page.keyboard.press("Shift+Home")
    for number, line in enumerate(solution.removeprefix(stub).splitlines()):
        if number:
            page.keyboard.press("Enter")  # which indents the next line
        page.keyboard.type(line.strip())
    page.keyboard.press("Shift+Enter")  # runs it and goes on to its check
    page.keyboard.press("Shift+Enter")
    checked = cell(notebook, f'check("12.1", {SOLVED})')
    expect(checked).to_contain_text("12.1 right")
    expect(notebook.get_by_text("not attempted yet")).to_have_count(2)
    keep(page, "exercise_solved")

    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type("import helpers.checks; helpers.checks.progress()")
    page.keyboard.press("Shift+Enter")
    row = notebook.get_by_role("row").filter(has=page.get_by_role("rowheader", name="12 Costs"))
    expect(row).to_contain_text("1 of 3")
    expect(row).to_contain_text("12.2, 12.3")
    keep(page, "progress")
    assert json.loads(lab.progress.read_bytes())["12.1"] == "right"

    expect(page.locator(".lm-mod-current.jp-mod-dirty")).to_have_count(1)
    page.keyboard.press("ControlOrMeta+s")
    expect(page.locator(".lm-mod-current.jp-mod-dirty")).to_have_count(0)
    tabs = page.locator(".jp-NotebookPanel")
    before = tabs.count()
    menu(page, "File", "Close Tab")
    expect(tabs).to_have_count(before - 1)
    assert source(lab.root / EXERCISE) == solution


def source(name: Path) -> str:
    """What stands in the solved task's cell of a notebook on disk."""
    notebook = nbformat.read(name.with_suffix(".ipynb"), as_version=4)
    return next(str(c.source) for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == SOLVED)
