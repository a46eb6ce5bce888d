"""Choosing: a filter with reasons, a trade-off on one benchmark, and a tree drawn from the same rules."""

import re
from collections import Counter
from itertools import pairwise, product

import pandas as pd
import pytest
from matplotlib.text import Annotation, Text

from helpers.catalog import BENCHMARKS, RETRIEVAL, Benchmark, Card, card, cards
from helpers.choosing import LEAD, SPEED, Choice, Needs, asked, choose, score, steps, tree, weights_mb, zero_shot
from helpers.choosing.plots import trade_off
from helpers.errors import CourseError
from helpers.models import twins

MANY_NEEDS = [
    Needs(commercial=c, remote_code=r, languages=n, tokens=t, memory_mb=m)
    for c, r, n, t, m in product((True, False), (True, False), (1, 20), (1, 512, 8192), (None, 500.0, 3000.0))
]

SEARCH = {"benchmark": "MTEB(eng, v1)", "search": True}


def kept(needs: Needs) -> set[str]:
    return {c.name for c in choose(needs).candidates}


def test_every_model_is_kept_or_excluded_with_a_reason(subtests: pytest.Subtests) -> None:
    for needs in MANY_NEEDS:
        with subtests.test(str(needs)):
            choice = choose(needs)
            assert {c.hub_id for c in choice.candidates} | set(choice.excluded) == {c.hub_id for c in cards()}
            assert len(choice.candidates) + len(choice.excluded) == len(cards())
            assert all(choice.excluded.values())


def test_what_is_kept_meets_every_need_by_the_catalogue_itself(subtests: pytest.Subtests) -> None:
    for needs in MANY_NEEDS:
        with subtests.test(str(needs)):
            for c in choose(needs).candidates:
                assert not needs.commercial or c.license in ("mit", "apache-2.0")
                assert needs.remote_code or c.trust_remote_code is False
                assert needs.languages == 1 or (c.languages_mteb or 0) >= needs.languages
                assert needs.tokens == 1 or c.layers == 0 or (c.max_tokens or 0) >= needs.tokens
                assert needs.memory_mb is None or (c.params_total or 10**12) * 4e-6 <= needs.memory_mb


def test_the_tree_ends_where_the_function_does(subtests: pytest.Subtests) -> None:
    for needs in MANY_NEEDS:
        with subtests.test(str(needs)):
            text, choice = tree(needs), choose(needs)
            out = Counter[str]()
            for c in cards():
                for number, rule in enumerate(asked(needs)):
                    if reason := rule.fails(c, needs):
                        out[f"{'unknown' if 'unknown' in reason else 'out'}{number}"] += 1
                        break
            drawn = {name: int(count) for name, count in re.findall(r'\b((?:out|unknown)\d)\["(\d+) out"\]', text)}
            assert drawn == dict(out)
            assert f'kept["{len(choice.candidates)} candidates"]' in text
            assert re.findall(r'front\["(.*?)"\]', text)[0].split("<br>") == (
                choice.front() or ["none: no candidate has both figures"]
            )
            assert [q for q in re.findall(r'q\d\{"(.*?)"\}', text)] == [rule.question(needs) for rule in asked(needs)]


# Mermaid's grammar, as much of it as the tree uses: a node is a word, and its label stands in quotes within brackets
# or braces; an arrow leads from node to node, and its label within bars. Words that mermaid keeps for itself are none.
LABEL = r"\"[^\"#;`]+\""
NODE = rf"(?!(?:end|graph|subgraph|style|class|click|default)\b)[a-z]+\d*(?:\[{LABEL}\]|\{{{LABEL}\}})?"
ARROW = re.compile(rf"    {NODE} -->(?:\|[a-z ]+\|)? {NODE}")


def test_the_tree_is_mermaid_line_by_line_and_every_arrow_leads_to_a_node_with_a_label(
    subtests: pytest.Subtests,
) -> None:
    for needs in MANY_NEEDS:
        with subtests.test(str(needs)):
            first, *lines = tree(needs).splitlines()
            assert first == "flowchart TD"
            assert [line for line in lines if not ARROW.fullmatch(line)] == []
            labelled = re.findall(r"(\w+)[\[{]\"", "\n".join(lines))
            assert len(labelled) == len(set(labelled))
            ends = {
                end for line in lines for end in re.findall(r"[a-z]+\d*", re.sub(rf"{LABEL}|\|[a-z ]+\|", "", line))
            }
            assert ends == set(labelled)


def test_the_steps_count_every_model_once(subtests: pytest.Subtests) -> None:
    for needs in MANY_NEEDS:
        with subtests.test(str(needs)):
            taken = steps(needs)
            assert sum(step.no + step.unknown for step in taken) + len(choose(needs).candidates) == len(cards())
            assert [step.yes for step in taken][-1:] in ([], [len(choose(needs).candidates)])


def test_asking_for_more_never_adds_a_model() -> None:
    free = Needs(commercial=False, remote_code=True)
    assert kept(free) == {c.name for c in cards()}
    for needs in MANY_NEEDS:
        assert kept(Needs(commercial=True, remote_code=needs.remote_code, tokens=8192)) <= kept(
            Needs(commercial=False, remote_code=needs.remote_code, tokens=512)
        )


def test_non_commercial_and_unread_licences_are_excluded_and_told_apart() -> None:
    excluded = choose(Needs()).excluded
    assert "licence forbids commercial use (cc-by-nc-4.0)" in excluded["jinaai/jina-embeddings-v3"]
    assert any("terms of its own" in reason for reason in excluded["google/embeddinggemma-300m"])
    assert "licence unknown" in excluded["sentence-transformers/multi-qa-mpnet-base-cos-v1"]


def test_all_reasons_are_told_and_not_only_the_first() -> None:
    reasons = choose(Needs(languages=20, tokens=8192)).excluded["BAAI/bge-small-en-v1.5"]
    assert reasons == ("too few languages (1 of 20)", "context too short (512 of 8192)")


def unlike(name: str, **changed: object) -> Card:
    return card(name).model_copy(update=changed)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("license", "licence unknown"),
        ("trust_remote_code", "unknown whether it runs code of its own"),
        ("languages_mteb", "languages unknown"),
        ("max_tokens", "context length unknown"),
        ("params_total", "parameters unknown"),
    ],
)
def test_an_unknown_fact_excludes_and_is_named(field: str, reason: str) -> None:
    model = unlike("bge-m3", **{field: None})
    needs = Needs(languages=2, tokens=100, memory_mb=1e6)
    assert choose(needs, [card("bge-m3")]).excluded == {}
    assert choose(needs, [model]).excluded == {"BAAI/bge-m3": (reason,)}


def test_a_fact_that_nobody_asks_about_may_be_unknown() -> None:
    model = unlike("bge-m3", languages_mteb=None, max_tokens=None, params_total=None)
    assert choose(Needs(), [model]).candidates == (model,)


def test_a_limit_is_met_by_exactly_what_it_asks() -> None:
    small = card("bge-small-en-v1.5")
    size = weights_mb(small)
    assert size == pytest.approx((small.params_total or 0) * 4 / 1e6)
    assert choose(Needs(tokens=512, memory_mb=size), [small]).candidates
    assert not choose(Needs(tokens=513), [small]).candidates


def test_static_models_read_a_text_of_any_length() -> None:
    static = next(c for c in cards() if c.layers == 0)
    assert not [r for r in choose(Needs(tokens=10**6)).excluded.get(static.hub_id, ()) if "context" in r]


def test_nomic_v2_is_no_long_context_model() -> None:  # its context is 512 tokens, not 8192
    assert "nomic-embed-text-v2-moe" not in kept(Needs(commercial=False, remote_code=True, tokens=513))


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_table_has_one_benchmark_and_no_incomplete_run(benchmark: Benchmark) -> None:
    made = choose(Needs(benchmark=benchmark)).table()
    assert [column for column in made if "MTEB" in column] == [benchmark]
    for name, value in made[benchmark].items():
        assert (value == score(card(str(name)), benchmark)) or pd.isna(value)
    known = made[benchmark].dropna()
    assert known.is_monotonic_decreasing and made[benchmark].iloc[len(known) :].isna().all()


def test_bge_m3_has_no_english_score_and_is_not_on_an_english_front() -> None:
    made = choose(Needs()).table()
    assert pd.isna(made.loc["BAAI/bge-m3", "MTEB(eng, v2)"]) and pd.isna(made.loc["BAAI/bge-m3", "front"])


def test_the_zero_shot_share_stands_beside_the_score_and_belongs_to_the_same_benchmark() -> None:
    made = choose(Needs()).table()
    trained_for = card("F2LLM-v2-0.6B")
    assert made.loc[trained_for.hub_id, "zero-shot (%)"] == trained_for.zero_shot_pct_eng_v2 == 43
    assert zero_shot(trained_for, "MTEB(Multilingual, v2)") == trained_for.zero_shot_pct_multilingual_v2 == 88
    assert choose(Needs("MTEB(eng, v1)")).table()["zero-shot (%)"].isna().all()


@pytest.mark.parametrize("search", [True, False])
@pytest.mark.parametrize("benchmark", RETRIEVAL)
def test_a_model_is_off_the_front_if_another_is_told_to_beat_it_and_only_then(
    benchmark: Benchmark, search: bool
) -> None:
    made = choose(Needs(benchmark, search=search)).table().dropna(subset=["front"])
    _, noise = twins.speeds()
    beaten = [
        any(
            (score < other + LEAD and rate * noise < other_rate)
            or (other >= score + LEAD and rate <= other_rate * noise)
            for other, other_rate in zip(made.iloc[:, 0], made[SPEED], strict=True)
        )
        for score, rate in zip(made.iloc[:, 0], made[SPEED], strict=True)
    ]
    assert ["" if out else "kept" for out in beaten] == ["" if front == "" else "kept" for front in made["front"]]
    assert 0 < sum(beaten) < len(made)


def test_one_who_is_behind_by_less_than_tells_is_not_told_apart() -> None:
    made = choose(Needs("MTEB(eng, v2)", search=True)).table()
    ahead, behind = "Alibaba-NLP/gte-modernbert-base", "ibm-granite/granite-embedding-english-r2"
    assert 0 < made.iloc[:, 0][ahead] - made.iloc[:, 0][behind] < LEAD and made[SPEED][ahead] == made[SPEED][behind]
    assert (made["front"][ahead], made["front"][behind]) == ("yes", "not told apart")


def test_a_lead_that_counts_is_larger_than_what_two_publications_of_one_model_differ_by() -> None:
    differences = [
        abs(published - computed)
        for c in cards()
        for published, computed in (
            (c.eng_v1_published, score(c, "MTEB(eng, v1)")),
            (c.eng_v2_published, score(c, "MTEB(eng, v2)")),
            (c.multilingual_v2_published, score(c, "MTEB(Multilingual, v2)")),
        )
        if published is not None and computed is not None
    ]
    assert len(differences) > 20 and max(differences) < LEAD


def test_twins_of_one_shape_have_one_speed_which_lies_among_those_measured() -> None:
    speeds, noise = twins.speeds()
    kept = twins.measured().query("device == 'cpu' and dtype == 'float32'").set_index("hub_id").tokens_per_s
    large = ["BAAI/bge-large-en-v1.5", "intfloat/e5-large-v2", "thenlper/gte-large"]
    assert len({speeds[name] for name in large}) == 1
    assert kept[large].min() <= speeds[large[0]] <= kept.max()
    assert all(1 / noise <= speeds[name] / rate <= noise for name, rate in kept.items())
    assert speeds["microsoft/harrier-oss-v1-0.6b"] == speeds["Qwen/Qwen3-Embedding-0.6B"]
    assert "minishlab/potion-base-8M" not in speeds and "nomic-ai/nomic-embed-text-v2-moe" not in speeds


def test_search_is_chosen_by_the_mean_of_retrieval_which_turns_the_order_round() -> None:
    granite, m3 = card("granite-embedding-311m-multilingual-r2"), card("bge-m3")
    everything, retrieval = (
        [score(c, "MTEB(Multilingual, v2)", search=s) for c in (granite, m3)] for s in (False, True)
    )
    assert everything[0] < everything[1] and retrieval[0] > retrieval[1]  # type: ignore[operator]
    made = choose(Needs("MTEB(Multilingual, v2)", search=True)).table()
    assert next(iter(made)) == "MTEB(Multilingual, v2), retrieval"
    assert made.iloc[:, 0][granite.hub_id] == granite.multilingual_v2_retrieval == 64.0


def test_a_mean_of_retrieval_has_its_source() -> None:
    for c in cards():
        assert (c.retrieval_source is None) == (c.eng_v2_retrieval is None and c.multilingual_v2_retrieval is None)


def test_the_verdict_says_whom_it_excludes_and_that_it_excludes_nobody() -> None:
    told = choose(Needs("MTEB(Multilingual, v2)", languages=20, tokens=2048, memory_mb=3000, search=True)).verdict()
    assert "On the front: granite-embedding-311m-multilingual-r2" in told and "Beaten by another: Qwen3" in told
    one = choose(Needs(), [card("bge-small-en-v1.5")])
    assert one.verdict() == "It excludes nobody: all 1 that have both figures are on the front, so measure them all."
    assert choose(Needs(tokens=10**6, memory_mb=1)).verdict() == "Nobody has both figures, so this decides nothing."


def test_with_nobody_left_the_table_is_empty_and_the_tree_says_so() -> None:
    needs = Needs(tokens=10**6, memory_mb=1)
    choice: Choice = choose(needs)
    assert choice.candidates == () and choice.table().empty and choice.front() == []
    assert "0 candidates" in tree(needs) and "none: no candidate" in tree(needs)


@pytest.mark.parametrize("wrong", [{"tokens": 0}, {"memory_mb": float("nan")}, {"benchmark": "MTEB"}, SEARCH], ids=str)
def test_a_need_that_makes_no_sense_is_told(wrong: dict[str, object]) -> None:
    with pytest.raises(CourseError, match="retrieval on MTEB" if wrong is SEARCH else next(iter(wrong))):
        Needs(**wrong)  # type: ignore[arg-type]


# The figure

WORDS = {"yes": "on the front", "not told apart": "not told apart from the front", "": "beaten by another candidate"}
CROWDS = {
    "nobody": Needs(tokens=10**6, memory_mb=1),
    "one": Needs(memory_mb=100),
    "the lesson's": Needs("MTEB(Multilingual, v2)", languages=20, tokens=2048, memory_mb=3000),
    "who searches in English": Needs("MTEB(eng, v2)", search=True),
    "everybody": Needs("MTEB(eng, v1)", commercial=False, remote_code=True),
}


@pytest.mark.parametrize("needs", CROWDS.values(), ids=CROWDS)
def test_however_many_candidates_no_name_is_cut_or_covers_another(needs: Needs) -> None:
    figure, placed = trade_off(choose(needs)), choose(needs).table().dropna(subset=["front"])
    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    assert [text.get_text() for text in names] == [str(name).split("/")[1] for name in placed.index]
    boxes = [Text.get_window_extent(text) for text in names]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert all(below.y1 <= above.y0 for above, below in pairwise(boxes))
    assert all(box.x0 >= figure.axes[0].get_window_extent().x1 for box in boxes)


@pytest.mark.parametrize("needs", CROWDS.values(), ids=CROWDS)
def test_the_legend_names_only_what_is_drawn(needs: Needs) -> None:
    figure, front = trade_off(choose(needs)), choose(needs).table()["front"].dropna()
    legend = figure.axes[0].get_legend()
    told = {text.get_text() for text in legend.get_texts()} if legend else set()
    assert told == {WORDS[place] for place in front}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_score_is_the_catalogues_mean_of_a_complete_run_and_none_of_another(benchmark: Benchmark) -> None:
    mean, run, tasks = BENCHMARKS[benchmark]
    complete = [c for c in cards() if getattr(c, run) == tasks]
    assert len(complete) >= 30 and max(getattr(c, run) or 0 for c in cards()) == tasks
    assert all(score(c, benchmark) == getattr(c, mean) is not None for c in complete)
    assert {score(c, benchmark) for c in cards() if c not in complete} == {None}


def test_bge_m3_has_the_catalogues_multilingual_mean_and_no_mean_of_its_incomplete_run() -> None:
    m3 = card("bge-m3")
    assert score(m3, "MTEB(Multilingual, v2)") == m3.multilingual_v2_computed_mean_task is not None
    assert score(m3, "MTEB(eng, v2)") is None


def test_exactly_the_languages_that_are_asked_for_are_enough() -> None:
    some = next(c for c in cards() if (c.languages_mteb or 0) > 1)
    languages = some.languages_mteb or 0
    assert some in choose(Needs(languages=languages, commercial=False, remote_code=True), [some]).candidates
    assert some not in choose(Needs(languages=languages + 1, commercial=False, remote_code=True), [some]).candidates
