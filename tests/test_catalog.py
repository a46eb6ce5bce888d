"""The catalogue: validated when it is read, found by any usual name, and true where it was checked."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import catalog
from helpers.catalog import BENCHMARKS, FACTS, Card, card, cards, find, nearest
from helpers.errors import CourseError
from tools import catalogue

Change = Callable[[list[dict[str, str]]], None]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Change], Path]:
    """The catalogue's first rows with a change made, as a file of its own."""

    def write(change: Change) -> Path:
        with (FACTS / "models.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))[:3]
        change(rows)
        path = tmp_path / "mine.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


def test_an_unchanged_copy_is_read_in_the_order_of_the_file(changed: Callable[[Change], Path]) -> None:
    assert cards(changed(lambda rows: None)) == cards()[:3]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("revision", "main"),
        ("revision", "8B3219A92973C328A8E22FADCFA821B5DC75636A"),
        ("dims", "0"),
        ("dims", ""),
        ("dims", "many"),
        ("max_tokens", "-1"),
        ("hub_id", "no-slash"),
        ("trust_remote_code", "perhaps"),
        ("eng_v2_published", "101"),
        ("eng_v2_n_of_41", "42"),
    ],
)
def test_a_wrong_cell_is_named_with_file_row_and_column(
    changed: Callable[[Change], Path], column: str, value: str
) -> None:
    path = changed(lambda rows: rows[1].update({column: value}))
    with pytest.raises(CourseError, match=rf"^mine\.csv, row 3, {column}: "):
        cards(path)


def test_a_name_listed_twice_is_named_with_file_and_row(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda rows: rows[2].update(hub_id="other/ALL-minilm-l6-v2"))
    with pytest.raises(CourseError, match=r"^mine\.csv, row 4: ALL-minilm-l6-v2 is listed twice"):
        cards(path)


def test_more_embedding_parameters_than_parameters_are_refused(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda rows: rows[0].update(params_embedding="22713217"))
    with pytest.raises(CourseError, match=r"^mine\.csv, row 2, .*params_embedding is larger than params_total"):
        cards(path)


def test_an_unknown_column_is_refused(changed: Callable[[Change], Path]) -> None:
    def add(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["colour"] = "blue"

    with pytest.raises(CourseError, match=r"^mine\.csv, row 2, colour: "):
        cards(changed(add))


def test_an_empty_cell_is_unknown_and_not_zero(changed: Callable[[Change], Path]) -> None:
    read = cards(changed(lambda rows: rows[0].update(max_tokens="", eng_v2_published="", trust_remote_code="")))[0]
    assert (read.max_tokens, read.eng_v2_published, read.trust_remote_code) == (None, None, None)


def test_a_short_row_is_refused_with_its_number(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda rows: None)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, "only/name"]), encoding="utf-8")
    with pytest.raises(CourseError, match=r"^mine\.csv, row 5, dims"):
        cards(path)


def test_a_row_with_a_cell_too_many_is_refused_with_its_number(changed: Callable[[Change], Path]) -> None:
    path = changed(lambda rows: None)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], lines[2] + ",more", lines[3]]), encoding="utf-8")
    with pytest.raises(CourseError, match=r"^mine\.csv, row 3"):
        cards(path)


@pytest.mark.parametrize("path", sorted(FACTS.glob("*.csv")), ids=lambda path: path.stem)
def test_each_row_of_a_file_of_facts_has_a_cell_for_each_column(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert [row[0] for row in rows if len(row) != len(head)] == []


@pytest.mark.parametrize(
    "name",
    ["BAAI/bge-m3", "bge-m3", "BGE-M3", "baai/BGE-m3", "  bge-m3 "],
    ids=["full", "short", "upper", "mix", "gap"],
)
def test_a_model_is_found_by_full_and_short_name_in_any_case(name: str) -> None:
    assert card(name).hub_id == "BAAI/bge-m3"


def test_find_gives_none_for_a_model_that_is_not_there() -> None:
    assert find("no-such-model") is None


def test_another_organisation_s_model_of_the_same_short_name_is_not_taken_for_it() -> None:
    assert find("someone-else/bge-m3") is None


def test_a_misspelt_name_raises_with_the_nearest_names() -> None:
    with pytest.raises(CourseError, match=r"'bge-smal-en' isn't in the catalogue\. Did you mean .*bge-small-en-v1\.5"):
        card("bge-smal-en")


def test_a_name_like_nothing_raises_without_a_proposal() -> None:
    with pytest.raises(CourseError) as raised:
        card("zzzzqqqq")
    assert "Did you mean" not in str(raised.value)


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (["xyzw"], ""),
        (["abcd"], " Did you mean abcd?"),
        (["abcd", "abce", "abcf"], " Did you mean abcd, abcf or abce?"),
        (["ABCD"], " Did you mean ABCD?"),
    ],
)
def test_at_most_three_nearest_names_make_one_sentence(known: list[str], sentence: str) -> None:
    assert nearest("abcd", known) == sentence


def test_nearest_ignores_the_organisation() -> None:
    assert nearest("some-long-organisation/bge-m4", ["bge-m3"]) == " Did you mean bge-m3?"


def test_a_card_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        card("bge-m3").dims = 3  # type: ignore[misc]


def every(model: Card) -> str:
    return model.name


def test_the_catalogue_holds_at_least_seventy_models() -> None:
    assert len(cards()) >= 70


def test_every_model_has_dimensions(subtests: pytest.Subtests) -> None:
    for model in cards():
        with subtests.test(model.hub_id):
            assert 64 <= model.dims <= 8192


def test_no_prompt_has_an_unfilled_placeholder_or_an_escaped_newline(subtests: pytest.Subtests) -> None:
    for model in cards():
        with subtests.test(model.hub_id):
            for prompt in model.prompts.values():
                assert "{" not in prompt
                assert "\\n" not in prompt


def test_english_v1_scores_are_not_copied_into_english_v2(subtests: pytest.Subtests) -> None:
    for model in cards():
        with subtests.test(model.hub_id):
            v1 = {model.eng_v1_published, model.eng_v1_computed} - {None}
            v2 = {model.eng_v2_published, model.eng_v2_computed_mean_task, model.eng_v2_mean_type} - {None}
            assert not v1 & v2


def test_english_v1_and_v2_are_known_for_models_side_by_side() -> None:
    both = [c for c in cards() if c.eng_v1_published and c.eng_v2_computed_mean_task]
    assert len(both) >= 10


def test_minilm_is_as_its_package_ships_it() -> None:
    minilm = card("all-MiniLM-L6-v2")
    assert (minilm.dims, minilm.max_tokens, minilm.params_total) == (384, 256, 22_713_216)
    assert minilm.license == "apache-2.0"


def test_nomic_v2_reads_512_tokens_and_has_475_million_parameters() -> None:
    nomic = card("nomic-embed-text-v2-moe")
    assert (nomic.max_tokens, nomic.params_total) == (512, 475_292_928)


def test_nomic_v2_uses_fewer_parameters_than_it_has() -> None:
    nomic = card("nomic-embed-text-v2-moe")
    assert nomic.params_active is not None
    assert nomic.params_active < (nomic.params_total or 0)


def test_multilingual_e5_large_reads_512_tokens() -> None:
    assert card("multilingual-e5-large").max_tokens == 512


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_e5_v2_takes_short_prefixes_and_no_instructions(size: str) -> None:
    assert card(f"e5-{size}-v2").prompts == {"query": "query: ", "document": "passage: "}


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_gte_takes_no_prompt_reads_512_tokens_and_is_english_only(size: str) -> None:
    gte = card(f"gte-{size}")
    assert gte.prompts == {"query": "", "document": ""}
    assert (gte.max_tokens, gte.languages_mteb) == (512, 1)


@pytest.mark.parametrize("size", ["0.6B", "4B", "8B"])
def test_qwen3_takes_an_instruction_with_no_space_after_query(size: str) -> None:
    assert card(f"Qwen3-Embedding-{size}").prompts == {
        "query": f"Instruct: {catalog.DEFAULT_TASK}\nQuery:",
        "document": "",
    }


def test_bge_puts_its_sentence_before_queries_alone() -> None:
    assert card("bge-small-en-v1.5").prompts == {
        "query": "Represent this sentence for searching relevant passages: ",
        "document": "",
    }


def test_of_many_near_names_three_are_proposed_and_of_far_ones_none() -> None:
    assert nearest("abcd", ["abc1", "abc2", "abc3", "abc4"]).count("abc") == 3
    assert nearest("abcdefgh", ["abcxyzuv", "zzzz"]) == ""  # three of eight letters are no likeness


def test_every_complete_multilingual_run_counts() -> None:
    assert sum(c.multilingual_v2_n_of_131 == BENCHMARKS["MTEB(Multilingual, v2)"][2] for c in cards()) >= 50


def test_the_table_of_other_kinds_is_what_mteb_s_metadata_give() -> None:
    mteb = pytest.importorskip("mteb")
    locked = re.search(r"^mteb==(\S+)", (catalog.FACTS.parents[1] / "requirements.lock").read_text("utf-8"), re.M)
    if not locked or mteb.__version__ != locked[1]:
        pytest.skip("another mteb than the lock's: its metadata may have changed")
    with catalogue.FILE.open(encoding="utf-8", newline="") as file:
        kept = list(csv.DictReader(file))
    assert kept == [{name: str(value) for name, value in row.items()} for row in catalogue.rows()]
    assert {"dense", "dense+sparse", "late interaction", "sparse", "reranker"} == {row["kind"] for row in kept}
    assert not {row["hub_id"] for row in kept} & {card.hub_id for card in catalog.cards()}
