"""The tokenizer that is put together from the package gives the ids of the hub's, text by text."""

import pytest
from transformers import AutoTokenizer

from helpers import bundled, data
from helpers.catalog import card
from helpers.packages import E5_Q4

HARD = (
    "",
    " ",
    "  leading and trailing  ",
    "tab\tand\nline",
    "an\u3000ideographic space",
    "cafe\u0301 and caf\u00e9",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "good \U0001f44d\U0001f3fd",
    "kept \uff5e and \U0001f23b",
    "a text with </s> and <mask> in it",
    "zero\u200bwidth\ufeff and \u00ad soft",
)


@pytest.mark.hub
def test_ids_are_the_hub_s() -> None:
    original = card(E5_Q4.original)
    hub = AutoTokenizer.from_pretrained(original.hub_id, revision=original.revision)
    ours = AutoTokenizer.from_pretrained(E5_Q4.folder(bundled.cache_folder()))
    parallel = [text for texts in data.parallel().values() for text in texts]
    texts = [*HARD, *parallel, *data.texts()]
    wrong = [text for text in texts if hub(text)["input_ids"] != ours(text)["input_ids"]]
    assert not wrong, wrong[:5]
