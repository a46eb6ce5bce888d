"""What a person reads: spelling, by codespell, British where it is prose; and links that lead somewhere."""

import importlib.resources
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tools.build import ROOT

GUIDES = [
    *ROOT.glob("*.md"),
    *(path for name in ("docs", "deploy", "helpers", ".github") for path in (ROOT / name).rglob("*.md")),
]
NOTEBOOKS = [path for folder in ("notebooks", "exercises", "solutions") for path in (ROOT / folder).rglob("*.ipynb")]
PAGES = sorted(path for path in [*GUIDES, *NOTEBOOKS] if ".ipynb_checkpoints" not in path.parts)
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
# In the list as American, and British too: the noun practice, the verb to license, a computer's program, a tale.
BOTH = re.compile(r"practice|licen|program|stor(y|ies)$")


def tokens(page: Path) -> Iterator[Token]:
    """The Markdown of a page or of a notebook's cells, parsed."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    for block in MarkdownIt().enable("table").parse(text):
        yield block
        yield from block.children or ()


def prose(page: Path) -> str:
    """The words of a page, without code."""
    return "\n".join(token.content for token in tokens(page) if token.type == "text")


def anchors(page: Path) -> set[str]:
    """What `page#anchor` may name, as GitHub and Sphinx form it from the headings."""
    found = list(tokens(page))
    titles = [after.content for token, after in itertools.pairwise(found) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def codespell(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def american(tmp_path_factory: pytest.TempPathFactory) -> str:
    """codespell's list of British and American words, the other way round."""
    british = importlib.resources.files("codespell_lib") / "data" / "dictionary_en-GB_to_en-US.txt"
    pairs = [line.split("->") for line in british.read_text(encoding="utf-8").splitlines()]
    kept = [f"{there}->{here}" for here, there in pairs if not BOTH.match(there)]
    file = tmp_path_factory.mktemp("words") / "american.txt"
    file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return str(file)


def test_nothing_in_the_repository_is_misspelt() -> None:
    assert not codespell()


def test_misspellings_and_american_words_are_found_where_they_stand(tmp_path: Path, american: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Re{'cieved'}\n\nThe neighbor of `color`.\n", encoding="utf-8")
    assert "Received" in codespell(str(page))
    words = tmp_path / "words.txt"
    words.write_text(prose(page), encoding="utf-8")
    found = codespell("--dictionary", american, str(words))
    assert "neighbour" in found and "colour" not in found


def test_prose_is_british(tmp_path: Path, american: str) -> None:
    for name, page in zip(NAMES, PAGES, strict=True):
        copy = tmp_path / name.replace("/", "--").replace(".", "-")
        copy.write_text(prose(page), encoding="utf-8")
    assert not codespell("--dictionary", american, str(tmp_path)).replace(str(tmp_path), "")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_within_the_repository_leads_to_a_file_and_its_anchor_to_a_heading(page: Path) -> None:
    broken = []
    for token in tokens(page):
        link = str(token.attrGet("href") or token.attrGet("src") or "")
        target, anchor = urldefrag(link)
        if not link or urlsplit(target).scheme:
            continue
        found = (page.parent / unquote(target)).resolve() if target else page
        if not (found.is_relative_to(ROOT) and found.exists()) or (anchor and anchor not in anchors(found)):
            broken.append(link)
    assert not broken
