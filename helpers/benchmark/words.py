"""What a report says in words, computed from its results: what to take, why, and how far the data and machine carry."""

import numpy as np

from helpers.benchmark.report import ANCHORS, DRAWN, MEASURES, Report, _short, agreement, ranking, table
from helpers.measure import speed
from helpers.measure.comparing import BORDERLINE, FEW_CLUSTERS
from helpers.measure.metrics import Estimate

FEW = 10  # positives, or failures, below which an interval is too narrow to be trusted
UNSTEADY = 0.10


def verdict(report: Report) -> str:
    """The first paragraph: how the models compare in quality and speed, and which to take."""
    if not report.judged:
        return unjudged(report)
    compared, results = report.comparison, report.results
    names = [_short(r.name) for r in results]
    best = int(compared.scores.argmax())
    title = MEASURES[report.quality]
    sentences = []
    if len(results) > 1 and not compared.decides:
        sentences.append(f"These data decide nothing: no two of the {len(results)} models are told apart in {title}.")
    if too_easy(report):
        sentences.append(f"Every model answers every one of the {report.items[1]}: this set is too easy to rank.")
    sentences.append(f"Best: **{names[best]}** ({title} {compared.scores[best]:.3f}).")
    for i in sorted(set(range(len(results))) - {best}, key=lambda i: -compared.scores[i]):
        rate = _times(speed.against(results[i].speed, results[best].speed))
        lost = compared.interval(best, i)
        if compared.apart(best, i):
            sentences.append(f"{names[i]} loses {_signed(lost)} and is {rate}.")
        else:
            sentences.append(f"{names[i]} can't be told apart from it (it is behind by {_signed(lost)}) and is {rate}.")
    if len(results) > 1:
        sentences.append(advice(report))
    return " ".join(sentences)


def unjudged(report: Report) -> str:
    """The first paragraph on texts without labels: no ranking, but speed and agreement, and what labels would take."""
    results, names = report.results, [_short(r.name) for r in report.results]
    first = max(range(len(results)), key=lambda i: results[i].speed.rate)
    sentences = [f"These {report.data.texts:,} texts have no labels, so **no model is ranked by quality**."]
    if len(results) > 1:
        told = [
            f"against {names[i]} {_times(speed.against(results[first].speed, results[i].speed))}"
            for i in sorted(set(range(len(results))) - {first}, key=lambda i: -results[i].speed.rate)
        ]
        sentences.append(f"Fastest: **{names[first]}**, {', '.join(told)}.")
        taus = agreement(report)
        pairs = [(i, j) for i in range(len(names)) for j in range(i) if np.isfinite(taus[i, j])]
        ends = sorted(pairs, key=lambda pair: -taus[pair])
        said = [f"{names[j]} and {names[i]} (tau {taus[i, j]:.2f})" for i, j in ends]
        if said:
            sentences.append(f"Most alike: {said[0]}" + (f"; least: {said[-1]}." if said[1:] else "."))
    sentences.append(
        "Agreement says which models are alike, not which is right. To rank them, label a few hundred pairs as alike "
        "or not, or write 50 queries and note the documents that answer each."
    )
    return " ".join(sentences)


def choice(report: Report) -> int:
    """Which result to take: the fastest of those that are surely worse by less than the margin, the best included.

    Where the faster of two isn't told, the one with the higher score.
    """
    compared = report.comparison
    best = int(compared.scores.argmax())
    good = [i for i in range(len(report.results)) if i == best or compared.not_worse(i, best, report.settings.margin)]
    fastest = [i for i in good if not any(j in report.places[i].slower_than for j in good)]
    return max(fastest or [best], key=lambda i: compared.scores[i])


def advice(report: Report) -> str:
    """Which model to take, and what would change that."""
    compared, margin = report.comparison, report.settings.margin
    names = [_short(r.name) for r in report.results]
    best, taken = int(compared.scores.argmax()), choice(report)
    if taken == best:
        said = f"Take **{names[taken]}**"
        undecided = [i for i in compared.same(best) if best in _slower(report, i)]
        if undecided:
            fast = max(undecided, key=lambda i: report.results[i].speed.rate)
            return (
                f"{said}, unless you can bear that {names[fast]} may lose up to {-compared.low[fast, best]:.3f}: it is "
                f"faster, and these data don't show that it loses less than {margin:g}."
            )
        return f"{said}: no faster model is surely worse by less than {margin:g}."
    worst = max(-compared.low[taken, best], 0)
    return (
        f"Take **{names[taken]}**, unless a loss of up to {worst:.3f} matters to you: it is faster, and worse by less "
        f"than {margin:g}, surely."
    )


def _slower(report: Report, i: int) -> list[int]:
    """The models that are told to be slower than this one."""
    return [j for j, place in enumerate(report.places) if i in place.slower_than]


def _times(ratio: Estimate) -> str:
    if ratio.low <= 1 <= ratio.high:
        return f"not told apart in speed ({_rate(ratio)} times)"
    return f"{_rate(ratio)} times as fast"


def _rate(ratio: Estimate) -> str:
    digits = 0 if ratio.value >= 10 else 1 if ratio.value >= 2 else 2
    high = f"{ratio.high:,.{digits}f}" if np.isfinite(ratio.high) else "unknown"
    return f"{ratio.value:,.{digits}f} [{ratio.low:,.{digits}f}, {high}]"


def _signed(difference: Estimate) -> str:
    return f"{difference.value:.3f} [{difference.low:.3f}, {difference.high:.3f}]"


def too_easy(report: Report) -> bool:
    """Whether no model fails on anything."""
    return report.quality != "separation" and all(r.scores[report.quality].value >= 1 for r in report.results)


def limits(report: Report) -> list[str]:
    """How far the data carry: what they could find, what they are too few for, what another draw might turn."""
    if not report.judged:
        drawn = min(DRAWN, report.data.texts)
        return [
            f"Agreement: Kendall's tau of two models' orders of {drawn - 1} texts by similarity to one, the mean over "
            f"{min(ANCHORS, drawn)} texts, all drawn with seed {report.settings.seed}; 1 is the same order, 0 is none."
        ]
    compared, margin = report.comparison, report.settings.margin
    many, items = report.items
    said = []
    if report.groups is not None:
        units = f"{compared.units} clusters of {items}"
        said.append(f"The {many} {items} form {units} that share something; clusters are compared, not {items}.")
        if compared.units < FEW_CLUSTERS:
            said.append(f"That is fewer than {FEW_CLUSTERS}: too few for an interval to be trusted.")
    else:
        units = f"{many} {items}"
    if len(report.results) > 1 and compared.detectable > 0:
        said.append(
            f"Power: {units} find a difference of {compared.detectable:.3f} to the best model four times in five; "
            f"about {compared.units_for(margin):,} {'such clusters' if report.groups else items} would find one of "
            f"{margin:g}."
        )
    if rare := _rare(report):
        said.append(f"{rare}: below about {FEW}, intervals are too narrow to be trusted.")
    names = [_short(r.name) for r in report.results]
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    if close := [f"{names[j]} and {names[i]}" for i, j in pairs if compared.borderline(i, j)]:
        said.append(
            f"Borderline (corrected p between {BORDERLINE[0]} and {BORDERLINE[1]}), so that another draw of resamples "
            f"may decide otherwise: {', '.join(close)}."
        )
    return said


def _rare(report: Report) -> str:
    """What there are too few of: pairs of one label, or items on which the best models still fail."""
    if report.of_pairs and not report.data.graded:
        gold = np.array(report.data.gold)
        fewest = min(int((gold == 1).sum()), int((gold == 0).sum()))
        if fewest < FEW:
            return f"Only {fewest} pairs have one of the two labels"
        if report.quality == "separation":
            return ""
        failures = {_short(r.name): _failures(np.array(r.similarities), gold) for r in report.results}
    elif report.of_pairs:
        return ""
    else:
        failures = {_short(r.name): int((np.array(r.per_query[report.quality]) < 1).sum()) for r in report.results}
    few = [f"{name} ({n})" for name, n in failures.items() if n < FEW]
    return f"Few {report.items[1]} on which a model fails: {', '.join(few)}" if few else ""


def _failures(similarity: np.ndarray, gold: np.ndarray) -> int:
    """Similar pairs below some dissimilar one, or dissimilar above some similar one, whichever are fewer."""
    similar, dissimilar = similarity[gold == 1], similarity[gold == 0]
    return int(min((similar <= dissimilar.max()).sum(), (dissimilar >= similar.min()).sum()))


def steadiness(report: Report) -> str:
    """How steady the machine was while it was timed."""
    timed = report.results[0].speed
    found = speed.spread(timed)
    before, after = report.environment["load_average"]
    said = (
        f"{_short(timed.reference)}, the reference, took from round to round seconds that differ by "
        f"{100 * found:.0f}%, with a load average of {before} before and {after} after."
    )
    if found > UNSTEADY:
        return (
            f"The machine was not steady: {said} Texts a second that lie within that of one another are no difference."
        )
    return f"The machine was steady: {said}"


def method(report: Report) -> list[str]:
    """How it was measured."""
    timed = report.results[0].speed
    rounds = sorted({r.speed.rounds for r in report.results})
    padding = [r.speed.computed_per_token for r in report.results if r.speed.computed_per_token]
    tokens = [r.speed.tokens_per_text for r in report.results if r.speed.tokens_per_text]
    hub = report.environment["hardware"]
    quality = report.judged and [
        f"Quality: {MEASURES[report.quality]}; models answer the same {report.items[1]} and are compared on them, by a "
        f"randomisation test (max-T, corrected for all comparisons, told at p of 0.05 or less, here "
        f"{report.comparison.critical:.2f} standard errors) and paired bootstrap intervals. Rank: 1 plus the number of "
        "models told to be better; equal rank doesn't mean equal."
    ]
    return [
        *(quality or ()),
        f"Speed: {min(rounds)}{f' to {max(rounds)}' if len(rounds) > 1 else ''} rounds, each batch to every model in "
        f"an order drawn anew, the same {timed.texts} texts in batches of up to {timed.batch_size}"
        + (f", {np.median(tokens):.0f} tokens a text, {max(padding):.2f} computed a token" if tokens else "")
        + f"; ratios to {_short(timed.reference)} in {timed.clock}, intervals by Student's t of log ratios; a "
        f"difference under {100 * (speed.WORTH - 1):.0f}% counts as none.",
        steadiness(report),
        f"Machine: {hub['accelerator'] or hub['cpu']}, {hub['cores']} cores, {hub['threads']} threads, "
        f"{hub['memory_gb']} GB. Measured at {report.at}.",
        *([capped(report)] if report.judged else ()),
    ]


def capped(report: Report) -> str:
    """What the combined score's cap does to the models at hand."""
    full, cap = ranking(report), report.settings.speed_cap
    slow = full[full["texts_per_s"] < cap]
    said = "Combined is quality × (0.7 + 0.3 × speed / cap), the speed in texts a second counted up to the cap"
    by = report.quality
    turned = [
        (s, f)
        for _, s in slow.iterrows()
        for _, f in full.iterrows()
        if f["combined"] > s["combined"] and f[by] < s[by]
    ]
    if not turned:
        return f"{said} of {cap:g}; it orders nothing here."
    s, f = max(turned, key=lambda pair: pair[0][by] - pair[1][by])
    return (
        f"{said}; with a cap of {cap:g} it puts {f['model']} ({f[by]:.3f} at {f['texts_per_s']:,.0f} texts/s: "
        f"{f['combined']:.3f}) above {s['model']} ({s[by]:.3f} at {s['texts_per_s']:,.0f}: {s['combined']:.3f}). It "
        "depends on the cap and orders nothing here."
    )


def description(report: Report) -> list[str]:
    """What the data were."""
    d = report.data
    said = [
        f"'{report.dataset}': {d.texts:,} distinct texts of {d.words[0]:.0f} words (median; 95%: {d.words[1]:.0f})."
    ]
    if d.queries:
        each = d.judged / len(d.queries)
        said.append(f"Retrieval: {len(d.queries):,} queries, {d.documents:,} passages, {each:.1f} relevant a query.")
    if d.pairs:
        labels = "graded" if d.graded else f"{int(sum(d.gold or ())):,} of them similar"
        said.append(f"Pairs: {d.pairs:,}, {labels}.")
    return said


def summary(report: Report) -> str:
    """The ranked table and what to know beside it, as plain text."""
    shown = table(report).drop(columns=["combined", "one text (ms)"], errors="ignore")
    lines = [shown.to_string(index=False), "", verdict(report).replace("**", ""), *limits(report), steadiness(report)]
    lines += [f"Not ranked: {name}: {reason}" for name, reason in report.unavailable.items()]
    return "\n".join(lines)
