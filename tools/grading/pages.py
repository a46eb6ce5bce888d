"""What of a submission may stand in a page: its Markdown as clean HTML, and a page in which nothing runs.

Markdown is made into HTML first and cleaned then, since a link's address is no HTML before. Mathematics stays as it was
written: the formgrader's MathJax can make links, too.
"""

import html
import re
from typing import Any

from nbconvert.filters import markdown2html
from nbconvert.preprocessors.sanitize import SanitizeHTML

RENDERED, IN_ALL = 20_000, 200_000  # characters of Markdown that are rendered, of a cell and of a notebook
LINK = re.compile(r"(?:https?://|mailto:|#)", re.IGNORECASE)
TAGS = "a abbr b blockquote br code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i li ol p pre s span strong sub sup"
TAGS += " table tbody td th thead tr ul"
NO_SCRIPT = (  # nor pictures, styles or fonts of another address
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; base-uri 'none'; form-action 'none'\">"
)
ANCHOR = re.compile(r'<a class="anchor-link".*?</a>', re.DOTALL)  # that nbconvert puts behind a heading
SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)


def clean(markdown: str, before: int = 0) -> str:
    """A learner's Markdown as HTML in which links lead to http, https and mailto only, and nothing is fetched.

    It stands in one line, so that it remains what it is when it is read as Markdown again. What is very long is shown
    as it is, since rendering can take long; `before` counts the characters of the notebook's cells so far.
    """
    if not markdown.strip():
        return ""
    try:
        short = len(markdown) <= RENDERED and before + len(markdown) <= IN_ALL
        made = _cleaner().sanitize_html_tags(ANCHOR.sub("", markdown2html(markdown))) if short else _raw(markdown)
    except Exception:  # whatever a renderer thinks of it, it can be shown as it is
        made = _raw(markdown)
    return f'<div class="tex2jax_ignore mathjax_ignore">{made.strip()}</div>'.replace("\r", "").replace("\n", "&#10;")


def _cleaner() -> Any:
    def linked(tag: str, name: str, value: str) -> bool:
        return name == "title" or (name == "href" and LINK.match(value.strip()) is not None)

    attributes = {"a": linked, "abbr": ["title"], "div": ["class"], "span": ["class"], "pre": ["class"]}
    cleaner: Any = SanitizeHTML  # has no types
    return cleaner(tags=TAGS.split(), attributes=attributes)


def _raw(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def locked(page: str) -> str:
    """A page without scripts, which says to the browser that none may run and nothing be fetched."""
    return SCRIPT.sub("", page).replace("<head>", f"<head>{NO_SCRIPT}", 1)
