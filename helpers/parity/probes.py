"""Texts chosen to tell faults apart. None is anybody's; a fault that a group can't show isn't looked for in it."""

# In lower case and plain letters, so that what happens to them happens to every text.
PLAIN = (
    "where does the ring road begin",
    "the museum on fish quay is closed on mondays",
    "add the flour last and do not stir again",
    "a patent for folding bicycles was granted in spring",
    "our parcel arrived two days late and wet",
    "salt",
)
CASED = ("The Ferry To KALEN Leaves At Noon", "NASA And ESA Agree On A Launch Date")
ACCENTED = ("crème brûlée à l'hôtel près de la forêt", "die größte brücke über den fluß führt nach köln")
OTHERS = {
    "emoji": "see you at the beach 🏖️ tomorrow 👍",
    "CJK": "京都の古い寺を訪ねる 北京的胡同",
    "Arabic": "متى يفتح المتحف أبوابه",
    "tabs and line ends": "first line\n\tsecond line\r\n  third line",
    "leading spaces": "    four spaces before this",
    "code": "for i in range(10): print(f'{i:>3}', end=\"\\n\")",
    "punctuation": "well -- yes; (no?) ... maybe!",
    "digits": "order 20-4471 of 14.03.2026, 1,250.50 eur",
}
BATCH = (*PLAIN, " ".join(PLAIN), PLAIN[0])  # of unlike lengths, one of them twice


def long_text(tokens: int) -> str:
    """A text of more than so many tokens in which every place is another, so that a cut at any place shows."""
    words = [word for sentence in PLAIN for word in sentence.split()]
    return " ".join(f"{words[i % len(words)]} {words[(i * i) % len(words)]}" for i in range(tokens))
