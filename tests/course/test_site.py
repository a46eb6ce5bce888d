"""The course site, as `make site` builds it: over its files, and in a real browser without a network."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat
import pytest
from filelock import FileLock
from lxml import html
from playwright.sync_api import Browser, Page, expect

from helpers import checks
from tools.build import ROOT, manifest

pytest_plugins = ["tests.course.browser"]

LESSONS = manifest()
EXERCISES = [lesson["name"] for lesson in LESSONS if "exercise" in lesson]
EXERCISE_TASKS = {lesson["name"]: lesson["exercise"]["tasks"] for lesson in LESSONS if "exercise" in lesson}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; built once, whichever of pytest's workers asks first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    with FileLock(f"{folder}.lock"):
        if not (folder / "sound").exists():
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            (words,) = re.findall(r"/sphinx-build (.+)", makefile)
            command = [sys.executable, "-m", "sphinx", *words.replace("site/_build", str(folder)).split()]
            built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert built.returncode == 0, built.stderr  # --fail-on-warning, so a broken link is a failure too
            (folder / "sound").touch()
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> list[Path]:
    """Every page's file; what lies in _static is the theme's."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A browser's page that has asked nothing of another host, met no error and no missing file when it is closed."""
    with browser.new_page() as opened:
        opened.set_default_timeout(20_000)
        amiss: list[str] = []
        opened.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else amiss.append(r.url))
        opened.on("response", lambda r: amiss.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        opened.on("pageerror", lambda error: amiss.append(str(error)))
        yield opened
        assert not amiss


# Its files


def test_every_lesson_exercise_and_guide_is_a_page_in_the_order_of_the_course(site: Path) -> None:
    listed = html.parse(site / "index.html").xpath("//nav[contains(@class, 'bd-links')]//a/@href")
    expected = []
    for lesson in LESSONS:
        name = lesson["name"]
        expected += [f"notebooks/{name}.html"] + [f"exercises/{name}/{name}.html"] * ("exercise" in lesson)
    assert [href for href in listed if href.startswith(("notebooks", "exercises"))] == expected
    assert {f"docs/{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} < set(listed)
    assert {f"{path.stem}.html" for path in ROOT.glob("*.md")} - {"README.html"} < set(listed)


def test_every_internal_link_image_script_and_anchor_exists(pages: list[Path], site: Path) -> None:
    parsed = {path.resolve(): html.parse(path).getroot() for path in pages}
    ids = {path: set(root.xpath("//@id")) for path, root in parsed.items()}
    broken = []
    for path, root in parsed.items():
        for element, _, link, _ in root.iterlinks():
            target, anchor = urldefrag(link)
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                assert element.tag == "a" or parts.scheme == "data", f"{path.name} would load {link[:99]}"
                continue
            found = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = found.is_relative_to(site.resolve()) and found.is_file()
            if not known or (anchor and found in ids and unquote(anchor) not in ids[found]):
                broken.append(f"{path.name}: {link}")
    assert not broken


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_shows_each_solution_folded_and_gives_the_learners_copy_to_download(site: Path, name: str) -> None:
    root = html.parse(site / "exercises" / name / f"{name}.html").getroot()
    solutions = nbformat.read(ROOT / "solutions" / name / f"{name}.ipynb", as_version=4)
    solved = [cell.source for cell in solutions.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    solved = [re.sub(r"(?m)^ *### (?:BEGIN|END) SOLUTION\n?", "", text) for text in solved]
    folded = root.xpath("//details[contains(@class, 'hide')]")
    assert [next(part.iter("pre")).text_content().strip() for part in folded] == [text.strip() for text in solved]
    assert not root.xpath("//details[@open]")
    hints = [hint for task in EXERCISE_TASKS[name] for hint in checks.task(task).hints]
    assert len(root.xpath("//details[contains(@class, 'hint')]")) == len(hints)
    (link,) = root.xpath("//a[contains(@class, 'btn-download-source-button')]/@href")
    learners = ROOT / "exercises" / name / f"{name}.ipynb"
    assert (site / "exercises" / name / link).resolve().read_bytes() == learners.read_bytes()


# In a browser


def test_the_search_finds_a_word_and_leads_to_its_lesson(page: Page, address: str) -> None:
    page.goto(f"{address}/search.html?q=matryoshka")
    found = page.locator("#search-results a", has_text="Nomic Embed").first
    found.click()
    expect(page.locator("h1").first).to_contain_text("Nomic Embed")
    expect(page.get_by_text("Matryoshka").first).to_be_visible()


def test_from_the_front_page_a_reader_reaches_a_lesson_and_then_its_exercise(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("h1").first).to_contain_text("Open-source embedding models")
    page.locator("nav.bd-links").get_by_role("link", name="01 · Sentence Transformers", exact=True).click()
    expect(page.locator("h1").first).to_contain_text("01 · Sentence Transformers")
    page.locator("a.right-next").click()
    expect(page.locator("h1").first).to_contain_text("Exercise 01")


def test_a_solution_is_folded_until_it_is_asked_for(page: Page, address: str) -> None:
    page.goto(f"{address}/exercises/02_bge/02_bge.html")
    solution = page.locator("details.hide").first
    code = solution.locator("pre")
    expect(code).to_be_hidden()
    page.get_by_text("Show the solution").first.click()
    expect(code).to_be_visible()
    expect(code).to_contain_text("torch.nn.functional.normalize")
    page.get_by_text("Hide the solution").first.click()
    expect(code).to_be_hidden()


def test_every_page_shows_its_images_and_fits_its_window(
    page: Page, address: str, pages: list[Path], site: Path
) -> None:
    figures = 0
    for path in pages:
        page.goto(f"{address}/{path.relative_to(site).as_posix()}")
        widths = page.eval_on_selector_all("article img", "images => images.map(image => image.naturalWidth)")
        assert all(widths), path.name
        figures += len(widths)
        sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert sideways <= 0, f"{path.name} is wider than the window"
    assert figures >= len(LESSONS)
