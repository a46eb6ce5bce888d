# %% [markdown]
# # 12 · Costs
#
# After this lesson you can
# - **compute** what an API bills and what machines of your own cost, with tokens counted and prices that name their
#   source and date,
# - **hold** a break-even against capacity, peaks, spare machines and people, and see where it can't be reached,
# - **decide** under uncertainty, from ranges instead of single numbers, and for reasons other than cost.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Embedding can be bought by the token or run on machines bought by the hour. Which is cheaper is a sum, and most
# such sums are wrong in the same few ways. No price stands in this text: all are printed from the course's price
# table, and prices change, so look them up again before you sign.

# %% tags=["parameters"]
texts_per_month: float = 100e6  # the volume to plan for
tokens_per_s: float = 60_000.0  # of one machine; near the fastest server published for a large model on an L4
peak_factor: float = 3.0  # the busiest rate over the mean rate
engineering_hours: float = 10.0  # a month, to keep the service running
usd_per_engineering_hour: float = 100.0  # your own figure; this one is an assumption
api_engineering_hours: float = 3.0  # a month, on the API's side: retries, rate limits, new versions; an assumption
spot_share: float = 0.4  # of the list price, for machines that may be taken away; an assumption, look it up
committed_share: float = 0.65  # of the list price, for a year's commitment; an assumption, look it up

# %%
import platform
import textwrap

import numpy as np
import pandas as pd
from tokenizers import ByteLevelBPETokenizer

from helpers import catalog, costs, data, load
from helpers.costs import Fleet, plots
from helpers.models import twins

mini = load("all-MiniLM-L6-v2")
prices = pd.DataFrame([p.model_dump() for p in catalog.prices()])
print(f"device {mini.device}, {len(prices)} prices, {platform.machine()}, {costs.HOURS_PER_MONTH:.0f} hours a month")

# %% [markdown]
# ## What is billed
#
# APIs bill tokens, and a **token** is what that provider's tokenizer says it is. Sums of this kind often assume 100
# tokens a text. Count instead: the course's mixed texts, and its long documents, with two tokenizers. One is
# MiniLM's own, WordPiece. Hosted models often use byte-level BPE, which joins frequent neighbours among the bytes of a
# text into longer pieces; the other is such a one, trained here on these very texts. (That flatters it a little: no
# provider's tokenizer was trained on your texts.)

# %%
texts = list(data.texts())
documents = list(data.long_documents().corpus.values())
bpe = ByteLevelBPETokenizer()
bpe.train_from_iterator(texts + documents, vocab_size=8000, show_progress=False)


def counts(texts: list[str]) -> dict[str, list[int]]:
    """Tokens of each text, by tokenizer, nothing cut off."""
    wordpiece = mini.tokenizer(texts, verbose=False)["input_ids"]
    return {"WordPiece": [len(ids) for ids in wordpiece], "BPE": [len(e.ids) for e in bpe.encode_batch(texts)]}


rows = {
    (what, tokenizer): {"mean": np.mean(n), "median": np.median(n), "longest": max(n)}
    for what, some in {"mixed texts": texts, "long documents": documents}.items()
    for tokenizer, n in counts(some).items()
}
pd.DataFrame(rows).T.round(1)

# %% [markdown]
# The bill follows the mean, not the median: long texts are paid in full. Count with the tokenizer of the provider you
# would pay; in other languages the same meaning may be several times as many tokens.
#
# ## What an API costs
#
# The list price is for an answer at once. Many providers sell a **batch** price for jobs that may take hours. Open
# models are sold by the token as well, by others than those who trained them. The cheapest of both kinds:

# %%
shown = ["provider", "item", "price_usd", "batch_price_usd", "source_date", "confidence"]
api = prices[(prices.kind == "api") & prices.price_usd.notna()]
hosted = api.notes.fillna("").str.contains("hosted open model") | api["item"].str.contains("open weights")
open_models = api[hosted].sort_values("price_usd")
cheapest = open_models.iloc[0]
small, large = (costs.price("OpenAI", f"text-embedding-3-{size}") for size in ("small", "large"))
print("US dollars per million tokens; an empty batch price is unknown or not offered")
both = {"commercial": api[~hosted].sort_values("price_usd").head(8), "hosted open model": open_models.head(4)}
pd.concat(both)[shown].fillna({"batch_price_usd": ""}).droplevel(1)

# %% [markdown]
# The bill by hand, for the parameters' volume and the counted mean, and then by the helper. Tokens in millions,
# times the price of a million.

# %%
tokens = float(np.mean(counts(texts)["WordPiece"]))
by_hand = texts_per_month * tokens / 1e6 * small.price_usd
assert np.isclose(by_hand, costs.api_usd_per_month(texts_per_month, tokens, small.price_usd))
batch = costs.api_usd_per_month(texts_per_month, tokens, small.batch_price_usd)
print(f"{costs.millions(texts_per_month)} texts of {tokens:.0f} tokens a month, {small.name}:")
print(f"list ${by_hand:,.2f}, batch ${batch:,.2f}  ({small.source_date})")
for offer in (small, large):
    usd = costs.api_usd_per_month(10e6, 100, offer.price_usd)
    print(f"10M texts of 100 tokens, {offer.name}: ${usd:,.2f}")

# %% [markdown]
# ## What a machine costs
#
# A machine bills hours, busy or idle. A month has 730 of them. Machines with several GPUs are priced whole.

# %%
gpu = prices[(prices.kind == "gpu") & prices.price_usd.notna() & (prices.unit == "per hour")].copy()
gpu["usd_per_month"] = [costs.gpu_usd_per_month(usd) for usd in gpu.price_usd]
single = gpu[
    gpu["item"].str.contains("T4|L4|A10", case=False) & ~gpu["item"].str.contains(r"x[248]\b|L40|A100", case=False)
]
shown = ["provider", "item", "price_usd", "usd_per_month", "region_or_tier", "source_date"]
single.sort_values("usd_per_month")[shown].fillna("").style.hide(axis="index").format(precision=2)

# %% [markdown]
# ## Break-even, the naive way
#
# The **break-even** is the volume at which both cost the same: the month's rent over the API's bill for one text.
# Many guides do the sum with a function like this one, and conclude a volume from it.


# %%
def monthly(texts_per_month: int, tokens_per_text: int = 100, rent: float = 300.0) -> dict[str, str]:
    """The often-quoted sum: an A10 for 300 dollars, text-embedding-3 at 0.02 and 0.13 a million tokens."""
    millions = texts_per_month * tokens_per_text / 1e6
    even = rent / (0.02 * tokens_per_text / 1e6)
    bills = {"3-small": f"${millions * 0.02:.2f}", "3-large": f"${millions * 0.13:.2f}"}
    return bills | {"own GPU": f"${rent:.2f}", "break-even (texts)": f"{even:,.0f}"}


rents = {"the quoted sum": 300.0}
for provider, item in (
    ("AWS", "g5.xlarge"), ("Lambda", "1x A10 24GB"), ("Hugging Face Inference Endpoints", "aws nvidia-a10g"),
):  # fmt: skip
    machine = costs.price(provider, item)
    rents[f"{machine.name}, {machine.source_date}"] = costs.gpu_usd_per_month(machine.price_usd)
assert np.isclose(300 / (100 * 0.02 / 1e6), costs.break_even_texts_per_month(300, 100, 0.02))
pd.DataFrame({name: monthly(10_000_000, rent=rent) for name, rent in rents.items()}).T

# %% [markdown]
# The formula is right, and the rent that the table gives moves its result. But three things are missing. The first two
# can turn the verdict; the third is paid on both sides, and easily forgotten.
#
# ### First: capacity
#
# Nobody asked whether the machine can do that many texts. **Capacity** is throughput × utilisation × hours × 3600,
# over the peak factor (one, until the next section). The same source that quotes the sum states these speeds for four
# sizes of model. **Decide, then run:** which of them reach the break-even of the AWS machine, if it never rests?

# %%
g5 = costs.price("AWS", "g5.xlarge")
quoted = {"small": 500, "base": 200, "large": 100, "7B": 20}  # texts/s, of 100 tokens


def even(fleet: Fleet, offer: catalog.Price) -> str:
    """The break-even volume in texts a month, or "never"."""
    return costs.millions(fleet.break_even(offer.price_usd).texts_per_month)


for size, rate in quoted.items():
    fleet = Fleet(g5.price_usd, rate * 100, 100)
    assert np.isclose(fleet.capacity_texts_per_month, rate * 730 * 3600)
    capacity = costs.millions(fleet.capacity_texts_per_month)
    print(f"{size:5} {rate:3} texts/s, {capacity:>6} texts a month: {fleet.break_even(small.price_usd)}")

# %% [markdown]
# "Never" isn't a matter of more machines: if one machine at full load costs more than the API bills for what it
# does, so do ten. So the verdict hangs on the speed, and that source doesn't say who measured it. Here are speeds that
# have a source: one GPU, one large model, texts of about 450 tokens, several servers. They are in **tokens** a second,
# because an encoder computes tokens: a machine that does twice the texts of half the length is no faster.

# %%
l4 = costs.price("Hugging Face Inference Endpoints", "aws nvidia-l4")
published = pd.read_csv(catalog.FACTS / "published_speed.csv").query("hardware.str.startswith('NVIDIA L4')")
slow, fast = published.tokens_per_s.min(), published.tokens_per_s.max()
said = f"{slow / 100 / quoted['large']:.1f} to {fast / 100 / quoted['large']:.1f}"
print(f"texts of 100 tokens: {said} times the quoted speed of a large model")
published[["model", "engine", "dtype", "tokens_per_s", "date"]].style.hide(axis="index")

# %% [markdown]
# A token costs a model about two operations for each parameter outside its embedding tables, so what a GPU does of
# one model gives a range for another: from plain Sentence Transformers to the fastest server. (A range, not a
# measurement: a small model leaves a GPU waiting for the tokenizer.) The same verdicts again, for a rented L4.

# %%
sizes = {"small": "bge-small-en-v1.5", "base": "bge-base-en-v1.5", "large": "bge-large-en-v1.5"}
sizes["7B"] = "Qwen3-Embedding-8B"
flop = {name: catalog.card(name).flop_per_token for name in sizes.values()}
share = {name: flop["bge-large-en-v1.5"] / each for name, each in flop.items()}
rows = {}
for size, name in sizes.items():
    speeds = [quoted[size] * 100.0, *(speed * share[name] for speed in (slow, fast))]
    found = [even(Fleet(l4.price_usd, speed, 100), small) for speed in speeds]
    rows[name] = (*(f"{speed:,.0f}" for speed in speeds), *found)
columns = pd.MultiIndex.from_product([("tokens/s", "break-even, texts a month"), ("quoted", "slowest", "fastest")])
won = sum(row[3] == "never" != row[4] for row in rows.values())
open_ = sum(row[4] == "never" != row[5] for row in rows.values())
print(f"{l4.name}, ${l4.price_usd} an hour, against {small.item}, of {len(rows)} models:")
print(f"{won} pay at the slowest published speed and not at the quoted; {open_} only on the fastest server")
pd.DataFrame.from_dict(rows, orient="index").set_axis(columns, axis=1)

# %% [markdown]
# So ask of each verdict on a GPU whose speed it takes, and which server runs there.
#
# ### Second: what else is paid
#
# One thing at a time, at the speed of the parameters:
# - **Utilisation**: at full load queues grow without bound, so one plans for less.
# - **Peak factor**: machines are bought for the busiest hour and paid in all of them. Who starts and stops machines
#   with the load pays nearly the mean instead.
# - **Spare machines**: without one, the restart of a single machine is an outage.
# - **Engineering**: somebody updates, watches and is called at night; an API wants some hours too.
# - **Prices**: a year's commitment, or machines that may be taken away (spot), cost a part of the list; the last row
#   takes spot instead of the commitment, with two spare machines.

# %%
people = {"engineering_hours_per_month": engineering_hours, "usd_per_engineering_hour": usd_per_engineering_hour}
less = people | {"engineering_hours_per_month": max(engineering_hours - api_engineering_hours, 0)}
busy = {"utilisation": 0.6, "peak_factor": peak_factor, "spare_machines": 1}
cases = {
    "rent alone": (1.0, {}),
    "utilisation of six tenths": (1.0, {"utilisation": 0.6}),
    "and the peak": (1.0, {"utilisation": 0.6, "peak_factor": peak_factor}),
    "and a spare machine": (1.0, busy),
    "and engineering": (1.0, busy | people),
    "less the API's engineering": (1.0, busy | less),
    "scaled to the load, not to its peak": (1.0, busy | less | {"peak_factor": 1.0}),
    "and committed for a year": (committed_share, busy | less | {"peak_factor": 1.0}),
    "or on spot machines": (spot_share, busy | less | {"peak_factor": 1.0, "spare_machines": 2}),
}

# %%
fleets = {name: Fleet(l4.price_usd * share_, tokens_per_s, 100, **more) for name, (share_, more) in cases.items()}
capacity = {name: costs.millions(f.capacity_texts_per_month) for name, f in fleets.items()}
evens = {f"break-even, {o.item}": {name: even(f, o) for name, f in fleets.items()} for o in (small, large)}
pd.DataFrame({"a machine does": capacity} | evens)

# %% [markdown]
# Cost against volume. Each step of the solid lines is another machine; just above a step, the API can be cheaper
# again even where it was dearer below.

# %%
naive = Fleet(l4.price_usd, tokens_per_s, 100)
figure, table = plots.cost_curves(
    {"one cost: rent at full load": naive, "all costs": fleets["and engineering"]},
    {
        f"{small.item}, list": small.price_usd,
        f"{small.item}, batch": small.batch_price_usd,
        cheapest["item"]: cheapest.price_usd,
    },
    tokens_per_text=100,
)
figure

# %% [markdown]
# ### Third: the vectors
#
# Whoever makes the vectors has to keep them, in memory if they are to be searched fast, and that is often the larger
# machine. It is the same for an API's vectors as for your own, but for their length:

# %%
kept = {"MiniLM": 384, "bge-base": 768, "bge-large, bge-m3": 1024, small.item: 1536, large.item: 3072}
forms = {"float32": 4, "int8": 1, "bits": 1 / 8}
stored = {
    how: {name: texts_per_month * dims * size / 1e9 for name, dims in kept.items()} for how, size in forms.items()
}
print(f"GB for {costs.millions(texts_per_month)} vectors, no index counted")
pd.DataFrame(stored).round(1)

# %% [markdown]
# ### Jobs that can wait
#
# All of this is about texts that want an answer now. A corpus that is embedded once has no peak, needs no spare
# machine, and rents just the hours that it takes. Then there is no break-even volume: dollars for a million texts are
# held against the *batch* price.

# %%
each = {
    f"own {name}, {how} server": l4.price_usd * 1e6 * 100 / (speed * share[name]) / 3600
    for name in sizes.values()
    for how, speed in (("slowest", slow), ("fastest", fast))
}
each |= {f"{o.item}, batch": costs.api_usd_per_month(1e6, 100, o.batch_price_usd) for o in (small, large)}
each[f"{cheapest['item']}, list"] = costs.api_usd_per_month(1e6, 100, cheapest.price_usd)
print(f"cheapest: {min(each, key=each.get)}; dearest: {max(each, key=each.get)}")
pd.Series(each, name="US dollars per million texts of 100 tokens").sort_values().round(2).to_frame()

# %% [markdown]
# Compare only models that are as good on your data (lesson 08): a small model of your own isn't a large one of theirs.
#
# ## The throughput of a core
#
# A stated speed is somebody else's. The course keeps one table of measured speeds, and every lesson that states tokens
# a second takes them from there: one CPU thread, plain PyTorch in float32, texts of one length, so that none is padded.
# (Random weights in the right shape; speed doesn't depend on their values.) Your mixture of lengths is slower, and
# lesson 10 mends that; your machine is another one, so measure there: `python -m benchmarks.twins all-MiniLM-L6-v2`.

# %%
speeds, _ = twins.speeds()
run = twins.measured().query("device == 'cpu'").iloc[0]
cpu = costs.price("Hugging Face Inference Endpoints", "aws intel-spr x8")
cores = 4  # its 8 vCPU are 4 cores with two threads each
print(f"{run.hardware}, {run.threads} thread, {run['dtype']}, texts of {run.tokens} tokens, {run.date};")
print(f"rent of {cpu.name}: ${costs.gpu_usd_per_month(cpu.price_usd):,.2f} a month ({cpu.source_date})")
rows = {}
for name in ("all-MiniLM-L6-v2", "bge-small-en-v1.5", "bge-base-en-v1.5", "bge-large-en-v1.5", "Qwen3-Embedding-0.6B"):
    a_core = speeds[catalog.card(name).hub_id]
    fleet = Fleet(cpu.price_usd, cores * a_core, tokens, utilisation=0.6, peak_factor=peak_factor)
    machines = int(np.ceil(texts_per_month / fleet.capacity_texts_per_month))
    rows[name] = (round(a_core), machines, even(fleet, small), even(fleet, large))
columns = ["tokens/s a core", "machines for the volume", *(f"break-even, {o.item}" for o in (small, large))]
pd.DataFrame.from_dict(rows, orient="index", columns=columns)

# %% [markdown]
# The machine has another processor than the one that was measured, so the sum is a method, not a quotation. And "a CPU
# is too slow" is a sum as well: it depends on the volume and the model.
#
# ## A region instead of a point
#
# You don't know these numbers, you know ranges. Draw a value from each range, sum, repeat: the result is a
# distribution. The ranges are assumptions; change them. Rent spans the table's L4 machines, throughput a base-size
# model from the slowest to the fastest published server. Texts are of 50 to 200 tokens, and longer ones cost the
# machine what they cost the API.

# %%
rent = gpu[gpu["item"].str.contains("L4", case=False) & ~gpu["item"].str.contains("L40", case=False)].price_usd
ranges = {
    "usd_per_hour": (rent.min(), rent.max()),
    "tokens_per_s": (slow * share[sizes["base"]], fast * share[sizes["base"]]),
    "tokens_per_text": (50, 200),
    "utilisation": (0.3, 0.8),
    "peak_factor": (1.5, 5.0),
    "spare_machines": (0, 1),
    "engineering_hours_per_month": (2.0, 40.0),
    "usd_per_engineering_hour": (60.0, 150.0),
}

# %% [markdown]
# Against which API? Three groups of the price table, at list price, since these texts can't wait: the cheap and the
# dear among the commercial ones, and hosted open models. **Decide, then run:** against which of them will machines of
# your own pay most often?

# %%
closed, opened = api[~hosted].price_usd, open_models.price_usd
groups = {
    "commercial, cheap": (closed.min(), closed[closed < 0.05].max()),
    "commercial, dear": (closed[closed >= 0.1].min(), closed.max()),
    "hosted open": (opened.min(), opened.max()),
}
draws = {name: costs.draw_break_even(ranges, usd, draws=500) for name, usd in groups.items()}
rows = {}
for name, drawn in draws.items():
    low, middle, high = map(costs.millions, costs.break_even_quantiles(drawn))
    never, single = drawn.machines.isna().mean(), (drawn.machines == 1).mean()
    usd = "{:g} to {:g}".format(*groups[name])
    rows[name] = (usd, middle, f"{low} to {high}", f"{never:.0%}", f"{single:.0%}")
columns = ["usd per 1M tokens", "median break-even", "95% of the draws", "never", "on one machine"]
pd.DataFrame.from_dict(rows, orient="index", columns=columns)

# %% [markdown]
# "Never" is the share of draws in which no number of machines pays. The rest of the section looks at the group in
# which machines of your own pay most often; the others look alike, further to the right.

# %%
best = min(draws, key=lambda name: draws[name].machines.isna().mean())
figure, table = plots.break_even_region(draws[best])
print(f"against the group '{best}'")
figure

# %% [markdown]
# Read it at your volume: the share of situations, as drawn, in which own machines cost no more. It isn't the
# probability that you save money, unless the ranges describe what you believe.
#
# ## Your own numbers
#
# In a running notebook, the next cell shows sliders over a sentence and a figure. The cell after it gives the same
# for the parameters at the top, without sliders, so that it can be read on paper too. It takes the machine's list
# price and counts all engineering on your side: the API's own hours and a commitment would move it as above.

# %%
offers = {f"{p.name}, list": p.price_usd for p in catalog.prices() if p.kind == "api" and p.price_usd}
offers |= {f"{p.name}, batch": p.batch_price_usd for p in catalog.prices() if p.batch_price_usd}
machines = {p.name: p.price_usd for p in catalog.prices() if p.kind == "gpu" and p.price_usd and p.unit == "per hour"}
start = {"texts_per_month": texts_per_month, "tokens_per_text": tokens, "tokens_per_s": tokens_per_s}
plots.panel(offers, machines, **start)

# %%
own = Fleet(l4.price_usd, tokens_per_s, tokens, 0.6, peak_factor, 1, engineering_hours, usd_per_engineering_hour)
for offer in (small, large):
    print(f"{l4.name} or {offer.name}?")
    print(textwrap.indent(plots.verdict(own, texts_per_month, offer.price_usd), "  "))
figure, table = plots.cost_curves({l4.name: own}, {o.name: o.price_usd for o in (small, large)}, tokens)
figure

# %% [markdown]
# ## Reasons other than cost
#
# Often it isn't the money. Said with care:
# - **Cost** doesn't vanish: a bill by the token becomes a bill by the hour, and people.
# - **Privacy**: texts need not leave your network, which some contracts and laws ask for. On a rented machine they
#   are still in somebody's data centre, and logs and backups of your own can leak as well.
# - **Limits**: no provider's rate limit, but the capacity above is one. Beyond it, requests wait or are refused.
# - **Control**: pinned weights don't change and aren't withdrawn. Google's `text-embedding-004` was announced in July
#   2025 to end and shut down on 14 January 2026
#   ([Google's announcement](https://developers.googleblog.com/en/gemini-embedding-available-gemini-api/)): every index
#   built with it had to be embedded again, and that is a cost too. Lesson 19 does such a change.
# - **Latency and fine-tuning**: close to your data, and with weights that you may train further.
#
# And a middle way: an open model, bought by the token, keeps the way home open, since the same weights can be run
# by you later.
#
# ## Recap
#
# - **Compute**: counted tokens, in millions, times a dated price; machines by all the hours of a month.
# - **Hold** against capacity: tokens a second, utilisation, peak, spare machines and engineering decide whether a
#   break-even can be reached, and with how many machines. Ask of every speed who measured it, and on which server.
# - **Decide** from ranges: a share of situations at your volume, and the reasons that no price shows.
#
# Test yourself: Why can a second machine make the API cheaper again? On which side of the capacity does the peak
# factor stand? When does no number of machines reach the break-even?
#
# Now the exercise: [bills, machines and a break-even](../exercises/12_costs/12_costs.ipynb)
#
# ## For a second reading
#
# **Which range matters most?** A range's rank correlation with the break-even tells: near 1 or -1 where it decides the
# order of the draws, near 0 where it doesn't.

# %%
ranked = draws[best].drop(columns="machines").rank()
matters = ranked.corr()["break_even_texts_per_month"].drop("break_even_texts_per_month")
matters.sort_values(key=abs, ascending=False).round(2).to_frame("rank correlation").T

# %% [markdown]
# **Other languages.** The same sentences, with a tokenizer that saw only English, which is an extreme case; a
# multilingual one narrows the gap.

# %%
parallel = {language: counts(list(some))["BPE"] for language, some in data.parallel().items()}
per_sentence = pd.Series({language: np.mean(n) for language, n in parallel.items()}, name="tokens a sentence")
print(f"dearest: {per_sentence.idxmax()}, {per_sentence.max() / per_sentence['en']:.1f} times English")
per_sentence.round(1).to_frame().T

# %% [markdown]
# Sources: the price table `helpers/facts/prices.csv` and the published speeds `helpers/facts/published_speed.csv`, with
# source and date of each row; the course's own measurements, `helpers/facts/measured_cpu.csv`.
