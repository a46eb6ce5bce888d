"""What the columns of a table mean: the course's names, the field's usual synonyms, and the reader's own mapping.

Case, stray blanks, hyphens and underscores don't matter. Two columns that could be meant are an error that lists both:
a guess would be silent where it is wrong.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from helpers.data.rows import Table, hint
from helpers.errors import CourseError, nearest

# The course's name of each role, and how else the field calls it, without case, hyphens and underscores.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "sentence1": ("sentence1", "text1", "prompt1", "question1", "premise", "anchor"),
    "sentence2": ("sentence2", "text2", "prompt2", "question2", "hypothesis", "positive"),
    "label": ("label", "labels", "isduplicate", "issimilar", "isparaphrase", "paraphrase", "goldlabel", "target"),
    "score": ("score", "similarityscore", "similarity", "rating", "relatednessscore", "stsscore", "goldscore"),
    "kind": ("kind",),
    "group": ("group", "groupid", "cluster", "clusterid"),
    "id": ("id", "pairid", "rowid"),
    "document_id": ("id", "docid", "documentid", "pid", "passageid", "corpusid", "did", "docno"),
    "text": (
        "text",
        "contents",
        "passage",
        "content",
        "document",
        "pagecontent",
        "body",
        "documenttext",
        "passagetext",
    ),
    "title": ("title",),
    "query_id": ("id", "qid", "queryid", "questionid", "topic"),
    "query": ("query", "question", "userinput", "querytext", "anchor"),
    "judged_query": ("queryid", "qid", "query", "questionid", "topic", "topicid"),
    "judged_document": ("corpusid", "docid", "documentid", "document", "pid", "passageid", "did", "docno", "doc"),
    "relevance": ("score", "relevance", "relevancy", "rel", "label", "grade", "judgment", "judgement", "relevant"),
    "positive": ("positive", "positives", "pos", "positivepassages", "positivetext", "referencecontexts"),
    "negative": ("negative", "negatives", "neg", "hardnegative", "hardnegatives", "negativepassages", "negativetext"),
}
PAIRS = (
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("prompt1", "prompt2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("anchor", "positive"),
)
# "expected_ids", "gold", "relevant_doc_ids", "positive_ids", "reference_chunk_ids" ...
RELEVANT_IDS = re.compile(
    r"(gold|golden|relevant|expected|positive|correct|groundtruth|reference|answer)"
    r"(doc|document|passage|chunk|context|corpus|node|ctx)?s?(ids?)?"
)
TEXTS_ONLY = frozenset(
    {"positive", "positives", "positivepassages", "referencecontexts", "answer", "answers", "reference"}
)
ROLES: tuple[str, ...] = (
    "sentence1",
    "sentence2",
    "label",
    "score",
    "kind",
    "group",
    "id",
    "document_id",
    "text",
    "title",
    "query_id",
    "query",
)
ROLES += ("relevance", "relevant_ids", "positive", "negative", "judged_query", "judged_document")


@dataclass(frozen=True)
class Reading:
    """What the reader said of his files, and what is to be said to him.

    `columns` maps a role (see `ROLES`) to the name of its column; `encoding` is that of text files; `notes` collects
    what was understood and what was left out, a sentence each.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    notes: list[str] = field(default_factory=list)

    def note(self, *said: str) -> None:
        """Keep what isn't noted yet."""
        self.notes.extend(sentence for sentence in dict.fromkeys(said) if sentence not in self.notes)


def plain(name: object) -> str:
    """A name without case, blanks, hyphens and underscores."""
    return re.sub(r"[\W_]+", "", str(name).casefold())


def mapping(given: Mapping[str, str] | str | None) -> dict[str, str]:
    """The parameter `columns` as role -> column: a mapping, or a text such as "query=frage, text=inhalt".

    Raises:
        CourseError: it is neither, or names an unknown role.
    """
    if not given:
        return {}
    if isinstance(given, str):
        cut = [part.partition("=") for part in given.split(",") if part.strip()]
        if not all(equals for _, equals, _ in cut):
            raise CourseError(f"columns is {given!r}; write role=column, with commas between, or a mapping.")
        given = {role: column for role, _, column in cut}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for both in given.items() for name in both):
        raise CourseError(
            f"columns is {given!r}; it must map a role to the name of a column, such as {{'query': 'frage'}}."
        )
    made = {role.strip(): column.strip() for role, column in given.items()}
    if not set(made) & set(ROLES) and set(made.values()) <= set(ROLES):  # old name -> new one, as pandas renames
        made = {role: column for column, role in made.items()}
    for role in made:
        if role not in ROLES:
            raise CourseError(f"columns names {role!r}.{nearest(role, list(ROLES))} Known are: {', '.join(ROLES)}.")
    return made


def find(table: Table, role: str, reading: Reading, among: Iterable[str] | None = None) -> str | None:
    """The column of a table that has a role: the one that `columns` names, else the only one with a usual name.

    Raises:
        CourseError: two columns could be meant, or the one that `columns` names isn't there.
    """
    if role in reading.columns:
        return _mapped(table, role, reading)
    known = tuple(among or SYNONYMS[role])
    fit = [column for column in table.columns if plain(column) in known and column not in taken(reading, table, role)]
    exact = [column for column in fit if column == f"_{known[0]}" or column.casefold().strip() == role]
    if len(fit) > 1 and len(exact) == 1 and exact[0].startswith("_"):  # BEIR's _id is never meant as anything else
        fit = exact
    if len(fit) > 1:
        raise CourseError(
            f"{table.path}, {table.unit} 1: {' and '.join(map(repr, fit))} could each be the {role.replace('_', ' ')}; "
            f"say which with columns={{{role!r}: {fit[0]!r}}}."
        )
    return fit[0] if fit else None


def taken(reading: Reading, table: Table, role: str) -> set[str]:
    """The columns that `columns` gave to other roles."""
    return {column for other, column in reading.columns.items() if other != role}


def _mapped(table: Table, role: str, reading: Reading) -> str:
    wanted = reading.columns[role]
    same = [column for column in table.columns if column == wanted]
    same = same or [column for column in table.columns if plain(column) == plain(wanted)]
    if len(same) != 1:
        raise CourseError(
            f"{table.path}, {table.unit} 1: columns says that the {role.replace('_', ' ')} is {wanted!r}, "
            f"but the columns are {', '.join(map(str, table.columns))}.{nearest(wanted, list(table.columns))}"
        )
    return same[0]


def relevant_ids(table: Table, reading: Reading) -> str | None:
    """The column that lists the relevant documents of a query by their ids."""
    if "relevant_ids" in reading.columns:
        return _mapped(table, "relevant_ids", reading)
    names = {plain(column) for column in table.columns if RELEVANT_IDS.fullmatch(plain(column))}
    ids = {name for name in names if name.endswith(("id", "ids"))}  # beside them, "positive" or "answer" is a text
    return find(table, "relevant_ids", reading, ids or names or ("relevant_ids",))


def pair(table: Table, reading: Reading) -> tuple[str, str] | None:
    """The two columns of a pair.

    Raises:
        CourseError: two pairs of columns could be meant.
    """
    if {"sentence1", "sentence2"} & set(reading.columns):
        found = find(table, "sentence1", reading), find(table, "sentence2", reading)
        return (found[0], found[1]) if found[0] and found[1] else None
    there = {plain(column): column for column in table.columns}
    fit = [(there[one], there[two]) for one, two in PAIRS if one in there and two in there]
    if fit and (plain(fit[0][0]), plain(fit[0][1])) == PAIRS[0]:  # the course's own names leave no doubt
        return fit[0]
    if len(fit) > 1:
        shown = " or ".join(f"{one!r} with {two!r}" for one, two in fit)
        raise CourseError(
            f"{table.path}, {table.unit} 1: the pair could be {shown}; "
            f"say which with columns={{'sentence1': {fit[0][0]!r}, 'sentence2': {fit[0][1]!r}}}."
        )
    return fit[0] if fit else None


def understood(reading: Reading, table: Table, found: Mapping[str, str | None]) -> None:
    """Note in one sentence which columns were read as what, where a name isn't the course's own.

    Args:
        reading: takes the sentence.
        table: where the columns are.
        found: what a column is read as, in words -> its name.
    """
    own = {"sentence1", "sentence2", "label", "score", "kind", "id", "_id", "text", "title", "query-id", "corpus-id"}
    other = {meaning: column for meaning, column in found.items() if column and column not in own}
    if other:
        said = ", ".join(f"`{column}` as {meaning}" for meaning, column in other.items())
        reading.note(f"{table.path.name}: read {said}.")


def no_column(table: Table, needed: str) -> CourseError:
    """The error for a column that isn't there."""
    return CourseError(
        f"{table.path}, {table.unit} 1: no column {needed!r} among {', '.join(map(str, table.columns))};"
        f"{hint(needed, table.columns)} Or map it with columns={{{needed!r}: ...}}."
    )


def kind_of_value(value: Any) -> str:
    """A value in words, for an error."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the truth value {value}"
    if isinstance(value, int | float):
        return f"the number {str(value)[:40]}" if not isinstance(value, int) or abs(value) < 10**40 else "a number"
    return f"a {type(value).__name__}"
