"""The course as a web site, for Sphinx: `make site` builds it offline into site/_build/html.

The source folder is the repository itself, so a link between two notebooks is one in the site too, and nothing is
copied or executed. While Sphinx reads, README.md becomes the front page: `front.md`, the lessons of course.toml, and
how to run it. Each task of an exercise gets its hints and its solution, folded.
"""

import html
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
COURSE = tomllib.loads((ROOT / "course.toml").read_text(encoding="utf-8"))
TASKS = tomllib.loads((ROOT / "helpers" / "exercises" / "tasks.toml").read_text(encoding="utf-8"))
HINT = re.compile(r'hint\("([\d.]+)"')
MARKER = re.compile(r"^ *### (?:BEGIN|END) SOLUTION\n?", re.MULTILINE)

project = html_title = COURSE["title"]
author = "the course's authors"
copyright = "the course's authors; texts and data CC BY 4.0, code Apache 2.0"
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = ["*.md", "deploy/README.md", "docs/*.md", "notebooks/*.ipynb", "exercises/*/*.ipynb"]
exclude_patterns = [".*", "**/.*", "results", "notebooks/results", "site"]  # not walked through

nb_execution_mode = "off"  # make build has executed them, and the tests prove it
nb_ipywidgets_js: dict[str, Any] = {}  # by default from a CDN; no page holds a widget
myst_heading_anchors = 3
html_theme = "sphinx_book_theme"
html_theme_options = {"navbar_persistent": []}  # one search field, beside the page
html_static_path = ["static"]
html_css_files = ["course.css"]
suppress_warnings = ["mystnb.unknown_mime_type"]  # the claims beside their sentences are for tests
html_copy_source = True  # what the download button gives: a learner's copy, without solutions


BEGIN = ("learners", "glossary")


def groups() -> dict[str, list[str]]:
    """Every page below the front page, by its group in the navigation; an exercise follows its lesson."""
    course = []
    for lesson in COURSE["lesson"]:
        name = lesson["name"]
        course += [f"notebooks/{name}", *([f"exercises/{name}/{name}"] if "exercise" in lesson else [])]
    guides = [f"docs/{path.stem}" for path in sorted((ROOT / "docs").glob("*.md")) if path.stem not in BEGIN]
    project_pages = ["CONTRIBUTING", "CHANGELOG", "SECURITY"]
    return {
        "Begin": [f"docs/{name}" for name in BEGIN],
        "Lessons and exercises": course,
        "Guides": [*guides, "deploy/README"],
        "The project": project_pages,
    }


def front() -> str:
    """The front page for readers: what one learns, the lessons, how to run it, and the navigation beside every page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = ["| lesson | minutes | exercise |", "|---|---|---|"]
    for lesson in COURSE["lesson"]:
        name, exercise = lesson["name"], lesson.get("exercise")
        title = f"[{name[:2]} {lesson['title']}](notebooks/{name}.ipynb)"
        task = (
            f"[{exercise['title']}](exercises/{name}/{name}.ipynb), {exercise['minutes']} minutes" if exercise else ""
        )
        rows.append(f"| {title} | {lesson['minutes']} | {task} |")
    trees = [
        f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n:caption: {caption}\n\n" + "\n".join(names) + "\n```"
        for caption, names in groups().items()
    ]
    begin = (ROOT / "site" / "front.md").read_text(encoding="utf-8")
    return "\n\n".join([begin, "\n".join(rows), readme[readme.index("## Two commands") :], *trees]) + "\n"


def with_solutions(exercise: str, solved: str) -> str:
    """A learner's notebook in which each task ends with its solution, folded; both as JSON."""
    notebook = json.loads(exercise)
    answers = {cell["id"]: cell for cell in json.loads(solved)["cells"]}
    cells: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cells += waiting
            waiting = []
        elif cell["source"] != answers[cell["id"]]["source"]:
            waiting.append(folded(answers[cell["id"]]))
        elif asked := HINT.search("".join(cell["source"])):
            cells.append(hints(cell["id"], TASKS[asked[1]]["hints"]))
            continue
        text, _, _ = "".join(cell["source"]).partition("<details>")  # a link to the solutions, which now stand here
        cells.append(cell | {"source": text})
    return json.dumps(notebook | {"cells": cells + waiting})


def folded(answer: dict[str, Any]) -> dict[str, Any]:
    """The cell of a solution behind a line to click on."""
    prompts = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
    source = MARKER.sub("", "".join(answer["source"]))
    metadata = {"tags": ["hide-cell"], "mystnb": prompts}
    return answer | {"id": f"{answer['id']}-solution", "source": source, "metadata": metadata}


def hints(cell_id: str, texts: list[str]) -> dict[str, Any]:
    """A task's hints, each behind a line to click on; a page can't run `hint`."""
    coded = [re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False)) for text in texts]
    source = "\n".join(
        f'<details class="hint"><summary>Hint {number} of {len(coded)}</summary><p>{text}</p></details>'
        for number, text in enumerate(coded, start=1)
    )
    return {"cell_type": "markdown", "id": f"{cell_id}-hints", "metadata": {}, "source": source}


def with_links(notebook: str) -> str:
    """A notebook, as JSON, whose HTML outputs link to the site's pages; in Markdown, Sphinx sees to that."""
    parsed = json.loads(notebook)
    for cell in parsed["cells"]:
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                text = "".join(output["data"]["text/html"])
                output["data"]["text/html"] = re.sub(r'(href="(?!\w+:)[^"#]+)\.ipynb', r"\1.html", text)
    return json.dumps(parsed)


def complete(app: Sphinx, page: str, source: list[str]) -> None:
    """Add to a page what the site has and its file hasn't."""
    if page == root_doc:
        app.env.note_dependency(ROOT / "course.toml")
        app.env.note_dependency(ROOT / "site" / "front.md")
        source[0] = front()
    elif page.startswith("notebooks/"):
        source[0] = with_links(source[0])
    elif page.startswith("exercises/"):
        solution = ROOT / page.replace("exercises", "solutions", 1)
        solution = solution.with_suffix(".ipynb")
        app.env.note_dependency(solution)
        source[0] = with_solutions(source[0], solution.read_text(encoding="utf-8"))


def front_page(app: Sphinx, error: Exception | None) -> None:
    """README.html is also what a web server shows for the folder."""
    if error is None:
        shutil.copy(app.outdir / "README.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_lexer("mermaid", TextLexer)  # drawn by JupyterLab; a browser would have to fetch what draws it
    app.connect("source-read", complete)
    app.connect("build-finished", front_page)
