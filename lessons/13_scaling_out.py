# %% [markdown]
# # 13 · Scaling out
#
# After this lesson you can
# - **run** an embedding job on a pool of actors with Ray Data, and prove that its vectors are those of a plain loop,
# - **size** such a pool so that it doesn't starve the tasks that feed it, and say what happens when a process dies,
# - **decide** from hours and dollars whether more machines pay, how many, and whether Ray is the right way at all.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# One process that encodes in a loop is simple, and lessons 10 and 11 made it fast. This lesson is about a corpus that
# would keep it busy for days. Everything here runs on one machine, with two CPUs for Ray; what is said about more
# machines is reckoned, and says so.

# %% tags=["parameters"]
every: int = 4  # the corpus is every 4th of the course's texts
tokens_per_s: float = 60_000.0  # of one rented L4; near the fastest server published for a large model, lesson 12
startup_s: float = 300.0  # boot, image, weights, joining the cluster; an assumption
redone_share: float = 0.05  # of the work, after failures and lost machines; an assumption
spot_share: float = 0.4  # of the list price, for machines that may be taken away; an assumption, look it up
usd_per_egress_gb: float = 0.10  # what leaving the provider's network costs; an assumption

# %%
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import ray
import torch
from ray.data.exceptions import ExecutionTimeoutError

from helpers import costs, data, load
from helpers.costs import jobs
from helpers.costs.jobs import Job
from helpers.encode import encode, scale, token_counts
from helpers.errors import CourseError

mini = load("all-MiniLM-L6-v2", device="cpu")
print(f"device {mini.device}, Ray {ray.__version__}, {os.cpu_count()} CPUs, {platform.machine()}")

# %% [markdown]
# ## A corpus on disk
#
# A corpus that is worth more than one machine lies in many files. Parquet holds typed columns, compressed, and can be
# read in parts. Each row has an **id**: once several processes write, the order of rows is nothing to rely on, and
# the id says which vector belongs to which text.

# %%
folder = Path(tempfile.mkdtemp())
corpus = folder / "corpus"
corpus.mkdir()
texts = list(data.texts())[::every]
rows = pd.DataFrame({"id": [f"doc-{i:05}" for i in range(len(texts))], "text": texts})
tokens = np.array(token_counts(mini, texts))
for number, part in enumerate(np.array_split(np.arange(len(rows)), 4)):
    rows.iloc[part].to_parquet(corpus / f"shard-{number}.parquet")
    print(f"shard-{number}: {len(part)} texts, {tokens[part].sum():,} tokens")

# %% [markdown]
# Equal rows aren't equal work: an encoder computes tokens. The exercise cuts shards that are even.
#
# ## The plain loop
#
# The measure of everything that follows: one process, no framework, and as many CPUs as Ray gets below. `used`
# watches time, CPU seconds and memory of this process and all its children. The middle of three runs counts. And before
# its first text, a script starts Python, imports and loads weights: that is measured in a process of its own.

# %%
threads = torch.get_num_threads()
torch.set_num_threads(2)
runs = []
for _ in range(3):
    with jobs.used() as one:
        vectors = encode(mini, texts)
    runs.append(one)
torch.set_num_threads(threads)
plain = sorted(runs, key=lambda run: run.cpu_s)[1]
print(f"{plain.wall_s:.1f} s, {plain.cpu_s:.1f} CPU s, {len(texts) / plain.cpu_s:.2g} texts a CPU second")
script = "from helpers import load; load('all-MiniLM-L6-v2', device='cpu')"
with jobs.used() as bare:
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
print(f"{bare.wall_s:.1f} s, {bare.cpu_s:.1f} CPU s before the loop")

# %% [markdown]
# ## Starting Ray
#
# **Ray** starts processes, on one machine or on many, and hands them work and data. Its parts: a head that knows
# everything, a **raylet** on each machine that starts workers, and an object store in shared memory through which
# data passes. `scale.start` starts all of it here: for two CPUs, with a bounded store, without dashboard or usage
# statistics.

# %%
with jobs.used() as ray_start:
    scale.start(cpus=2)
listening = {
    connection.laddr.ip.removeprefix("::ffff:")
    for process in psutil.Process().children(recursive=True)
    for connection in process.net_connections("tcp")
    if connection.status == psutil.CONN_LISTEN
}
print(f"{ray_start.wall_s:.1f} s, {ray_start.cpu_s:.1f} CPU s, {ray_start.processes} processes")
print(f"they listen on {', '.join(sorted(listening))}")

# %% [markdown]
# Who reaches Ray's ports can run any program on its machines. Here nobody can from outside; on a cluster, keep them
# in a private network and ask for a token (`RAY_AUTH_MODE=token`).
#
# ## A pool, first without a model
#
# **Ray Data** cuts a data set into **blocks** and streams them through steps. `map_batches` with a function runs
# tasks: each call starts from nothing, and would load a model for every batch. With a class it runs **actors**:
# processes that keep what `__init__` made. The class below stands in for one with a model and gives each load a name.
# And since on a hundred machines something always fails, the batch with row 0 kills its own process, once. Each
# batch first notes that it has begun.
#
# **Decide, then run:** eight batches, two actors, one death. How many loads? Is a row lost, or done twice?


# %%
class Fragile:
    def __init__(self, notes: str) -> None:
        self.loaded, self.notes = os.urandom(4).hex(), Path(notes)  # stands for loading a model

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self.notes.open("a") as file:
            file.write(f"{batch['id'][0]} ")
        if batch["id"][0] == 0 and self.notes.read_text().split().count("0") == 1:
            os._exit(1)  # as when the kernel ends a process that takes too much memory
        return {"row": batch["id"], "loaded": np.full(len(batch["id"]), self.loaded)}


# %% [markdown]
# The data set has 8 blocks (`override_num_blocks`), each a batch. `compute` is the pool, `fn_constructor_args` goes to
# `__init__`, and `num_cpus` is what each actor asks for. Ray reports a death in long raw lines; `scale.start` holds
# them back.

# %%
numbers = ray.data.range(80, override_num_blocks=8)
pool = ray.data.ActorPoolStrategy(size=2)
notes = folder / "notes"
job = numbers.map_batches(Fragile, fn_constructor_args=(str(notes),), compute=pool, num_cpus=0.4)
done = job.to_pandas()
begun = pd.Series(notes.read_text().split()).value_counts()
assert sorted(done["row"]) == list(range(80)) and begun["0"] > 1
print(f"loads: {done['loaded'].nunique()} whose rows are here, and one that died; {len(done)} rows, each once")
for row, times in begun[begun > 1].items():
    print(f"the batch from row {row} on was begun {times} times")

# %% [markdown]
# Ray remembers how each block was made (its **lineage**) and makes lost ones again: a dead actor is replaced, and its
# batch done once more. So a batch may run twice, and whatever a step writes itself must be **idempotent**: the same if
# done again. By default Ray does that for ever, also with a batch that itself kills each process it meets, such as one
# that is too large for the memory; `max_task_retries=3` then ends the job with an error. An exception in your code ends
# it at once, because it would come again (`max_errored_blocks` lets some go, with their rows). If the **driver**, your
# notebook or script, or the head dies, nothing but files is left.
#
# ## The job
#
# The class that does our work, `scale.Encoder`, has the same two methods. It must be importable where the actors run,
# since Ray sends its name and not its code; a class from a notebook cell, as above, it sends whole. Each actor refuses
# a stand-in for weights that its machine can't reach, and takes the prompt that `encode_document` would: E5's passages
# need theirs.
#
# The job around it, `scale.pipeline`, reads two columns, cuts them into blocks of a batch each (`repartition`; a small
# file would be one block, for one actor), and hands them over as Arrow tables, which Parquet holds anyway.
#
# `scale.embed` runs it into a folder, and checks what can be checked before an actor starts. The folder appears
# when it is whole. After a crash the same call **goes on** with the rows that have no vector yet: what is lost is the
# files that were being written.

# %%
with jobs.used() as ray_run:
    embedded = scale.embed(corpus, folder / "vectors", "all-MiniLM-L6-v2", actors=2, batch_texts=16)
print(f"{embedded} texts, {ray_run.wall_s:.1f} s, {ray_run.cpu_s:.1f} CPU s, up to {ray_run.processes} processes")

# %% [markdown]
# ## The same vectors
#
# "Distributed" must not mean "different". Rows come back in any order, so the ids say what to compare.

# %%
files = list((folder / "vectors").glob("*.parquet"))
written = pd.read_parquet(folder / "vectors").sort_values("id")
found = np.stack(list(written["embedding"]))
assert written["id"].tolist() == rows["id"].tolist()
assert np.allclose(found, vectors, atol=1e-5)
largest = np.abs(found - vectors).max()
told = "rounding, from sums in another order" if largest else "equal to the last bit"
print(f"every id once; largest difference {largest:.0e}: {told}")
print(f"files: {len(files)}; made with {pq.read_schema(files[0]).metadata[b'weights'].decode()}")

# %% [markdown]
# Files are filled up to `scale.ROWS_PER_FILE` rows or more, so small shards share one: for a large corpus, a file for
# each batch would be far too many. What did it cost? For Ray, "the job" holds what its workers do first: each of them
# imports, and each actor loads weights.

# %%
parts = {
    "plain loop": (bare.cpu_s, plain),
    "Ray, two actors": (bare.cpu_s + ray_start.cpu_s, ray_run),
}
bill = {
    name: {
        "before the job, CPU s": before_s,
        "the job, s": part.wall_s,
        "the job, CPU s": part.cpu_s,
        "peak memory, MB": part.peak_mb,
        "processes": part.processes,
    }
    for name, (before_s, part) in parts.items()
}
pd.DataFrame(bill).round(1)

# %% [markdown]
# Ray's ten seconds or so are paid once, whatever the corpus, so this small one can only show the price. Ray adds no
# CPU to a machine. PyTorch can keep all cores of one machine busy from one process, so on a single machine a pool
# gains little beyond that. It pays where there are several machines, or where reading and cleaning take as much time
# as encoding.
#
# ## The starvation trap
#
# `num_cpus` is a share in Ray's books. It reserves no core, but decides what may start, and how many threads PyTorch
# opens: one for each whole CPU, at least one (by `OMP_NUM_THREADS`, unless that is set). An actor holds its share until
# the job ends, while tasks that read or write ask for one whole CPU each, and give it back. **Decide, then run:** two
# CPUs and two actors that ask for `0.8` each. What happens?

# %%
shares = pd.DataFrame({"CPUs an actor": [0.2, 0.4, 0.5, 0.6, 0.8, 1.0]})
shares["left for tasks"] = 2 - 2 * shares["CPUs an actor"]
shares["a task that reads"] = np.where(shares["left for tasks"] >= 1, "runs", "never starts")
print(f"the most for each of two actors on two CPUs: {scale.cpus_per_actor(actors=2, nodes=[scale.Node(2)]):g}")
shares.round(1)

# %% [markdown]
# The actors wait for data, the data waits for a CPU, and nothing is an error. By default Ray Data gives up after half
# an hour without progress; older versions waited for ever. Here the limit is a few seconds, for the small job above.

# %%
job = numbers.map_batches(Fragile, fn_constructor_args=(str(notes),), compute=pool, num_cpus=0.8)
job.context.execution_no_progress_timeout_s = 5
try:
    print(f"{job.count()} rows")
except ExecutionTimeoutError as error:
    print(str(error).split(" (")[0])

# %% [markdown]
# The mend is arithmetic: on a machine, actors × share + one task ≤ CPUs. On a cluster, one machine must have room for
# the task, and no actor is split over two. `scale.embed` takes the largest share that fits, and refuses one that
# doesn't, before anything starts.

# %%
try:
    scale.embed(corpus, folder / "starved", actors=2, cpus_each=0.8)
except CourseError as error:
    print(error)
ray.shutdown()
gone, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=10)
print(f"Ray has done its part here; processes of it that still run: {len(alive)}")

# %% [markdown]
# ## When it pays
#
# Now with rented machines. Every machine first spends its **start-up** and is billed for it; then the texts are shared
# out. With m machines:
#
# - hours = start-up + work ÷ m, where work is the hours that one machine would compute
# - dollars = m × hours × price = (m × start-up + work) × price
#
# The work costs the same on one machine or on a hundred. More machines add only start-ups, and no number of them is
# done before the first one has started. First by hand, then by the helper.

# %%
machine = costs.price("Hugging Face Inference Endpoints", "aws nvidia-l4")
texts_per_s = tokens_per_s / tokens.mean()  # an encoder computes tokens
by_hand_h = (startup_s + 1e8 / texts_per_s / 16) / 3600
job = Job(1e8, texts_per_s, machine.price_usd, startup_s)
assert np.isclose(job.hours(16), by_hand_h) and np.isclose(job.usd(16), 16 * by_hand_h * machine.price_usd)
print(f"{machine.name}, ${machine.price_usd} an hour ({machine.source_date}), assumed {tokens_per_s:,.0f} tokens/s,")
print(
    f"so {texts_per_s:.0f} texts/s of {tokens.mean():.0f} tokens. 100M texts: one machine {job.hours(1):.1f} h, ",
    end="",
)
print(f"${job.usd(1):.2f}; sixteen {job.hours(16):.1f} h, ${job.usd(16):.2f}")

# %% [markdown]
# Follow a curve in the left panel: each doubling of machines halves the hours, until they near the start-up. The
# dollars of the right one rise from the second machine on, by a start-up each.

# %%
names = {"1M texts": 1e6, "100M texts": 1e8, "10 billion texts": 1e10}
sizes = {name: Job(n, texts_per_s, machine.price_usd, startup_s) for name, n in names.items()}
counts = np.unique(np.geomspace(1, 1000, 60).astype(int))
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for (name, job), colour, style in zip(sizes.items(), ("#0072b2", "#d55e00", "#009e73"), ("-", "--", "-."), strict=True):
    left.plot(counts, [job.hours(int(m)) for m in counts], style, color=colour, label=name)
    right.plot(counts, [job.usd(int(m)) for m in counts], style, color=colour, label=name)
left.axhline(startup_s / 3600, color="grey", linestyle=":", label="start-up")
for axes, what in ((left, "hours"), (right, "US dollars")):
    axes.set(xscale="log", yscale="log", xlabel="machines (log scale)", ylabel=f"{what} (log scale)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.25)
plt.show()

# %% [markdown]
# The smallest corpus meets the start-up after some tens of machines: from there on, further machines cost money and
# save next to nothing. So a deadline decides, not a wish for speed: the fewest machines that meet it are the cheapest
# that do.

# %%
needed = {
    (name, f"within {deadline} h"): (m := job.machines_for(deadline)) and (m, job.hours(m), job.usd(m))
    for name, job in sizes.items()
    for deadline in (1, 8, 72)
}
table = pd.DataFrame(needed, index=["machines", "hours", "US dollars"]).T
table.style.format("{:,.1f}").format("{:,.0f}", subset=["machines"])

# %% [markdown]
# Mind the column of machines: hundreds or thousands of GPUs at once don't exist for a usual account. Providers give
# quotas; ask before you plan. Then what the formula leaves out, for the middle corpus on sixteen machines. **Redone
# work**: what dies is computed again. **Spot machines**, idle ones that a provider rents for less and takes back at
# short notice, have more of it, and more start-ups; the work here is idempotent and cut into runs, which is just what
# they ask for. **Egress**: vectors that leave the provider's network are billed by the gigabyte; storage of the same
# region costs nothing to reach, and in 16 bits they are half, in int8 a quarter. **People**: a cluster must be kept.

# %%
gigabytes = jobs.vectors_gb(1e8, 1024)  # bge-large's
list_, spot = machine.price_usd, machine.price_usd * spot_share
sums = {
    "start-up and work": Job(1e8, texts_per_s, list_, startup_s),
    "and redone work": Job(1e8, texts_per_s, list_, startup_s, redone_share),
    "on spot: three times redone, three start-ups": Job(1e8, texts_per_s, spot, 3 * startup_s, 3 * redone_share),
    "at list, and egress": Job(1e8, texts_per_s, list_, startup_s, redone_share, gigabytes, usd_per_egress_gb),
    "at list, and egress in int8": Job(
        1e8, texts_per_s, list_, startup_s, redone_share, gigabytes / 4, usd_per_egress_gb
    ),
}
print(f"{gigabytes:.0f} GB of float32 vectors; assumed: {redone_share:.0%} redone, ${usd_per_egress_gb:.2f} a GB")
pd.DataFrame({name: {"hours": j.hours(16), "US dollars": j.usd(16)} for name, j in sums.items()}).T.round(2)

# %% [markdown]
# ## The same job on a cluster
#
# `scale.pipeline` doesn't know where it runs. A cluster has a head node, and a script is sent to it. It is made by
# `ray up` (machines of a cloud, from a YAML file), by KubeRay (in Kubernetes), or by a provider.
#
# ```python
# # job.py, for sixteen machines of 8 CPUs and one L4: an encoder on each GPU, three tokenizers on its CPUs
# import ray
# from helpers import scale
# from pyarrow import fs
#
# ray.init(address="auto")  # the cluster that this runs on, instead of scale.start()
# target = "s3://bucket/vectors/2026-11-24"  # a new one for each run
# job = scale.pipeline(
#     "s3://bucket/corpus/", "BAAI/bge-large-en-v1.5", actors=16, cpus_each=2, gpus_each=1,
#     tokenizers=48, dtype="bfloat16", batch_tokens=16_384,  # so that the GPU only computes, in large batches
# )
# job.write_parquet(target, mode="error", min_rows_per_file=scale.ROWS_PER_FILE)
# store, path = fs.FileSystem.from_uri(target)
# store.open_output_stream(f"{path}/_SUCCESS").close()  # the marker, last
# ```
#
# ```bash
# ray job submit --address http://head:8265 --working-dir . -- python job.py
# ```
#
# What changes, and why:
# - **Storage**: every machine reads and writes an object store, never its own disk. A folder can't be renamed there:
#   write into a folder of the run's own, and a marker file last; readers take folders that have one.
# - **Weights and code** are in the image that all machines start from, pinned. A hundred machines that download the
#   same weights at once are a start-up, a bill and a rate limit.
# - **Pool**: `ActorPoolStrategy(min_size=4, max_size=32)` grows while blocks wait; `size=` is steady. Leave each
#   machine CPUs for reading, as above.
# - **GPUs**: `gpus_each=1` gives each actor one of its own, `0.5` puts two on one, which share its memory. A GPU is
#   paid whole and waits for everything else: so CPUs of the same machine tokenise (`tokenizers=`), it computes in
#   bfloat16, and a batch holds thousands of tokens. This part ran here on CPUs, in tests, and on no GPU yet.
# - **Spot machines** suit the actors, whose work can be done again, and never the head.
#
# ## Other ways, and when each is right
#
# | way | right when | what you do yourself |
# |---|---|---|
# | `model.encode(texts, device=["cuda:0", "cuda:1"])` | one machine, several GPUs | fit all in memory; no resuming |
# | processes, `helpers.encode.stream` once a shard | one machine or a few: most jobs | cut even shards, watch them |
# | SLURM array (a shared queue), one shard a task | a university's or company's cluster has it | retries, waiting |
# | Spark or Dask | the corpus is already made and cleaned there | models in its workers; GPUs are harder |
# | Ray Data | many machines with GPUs; reading and encoding at once | run the cluster, or pay for it |
# | a provider's batch API | no machines, no hurry, the model is offered | lesson 12's sums; texts leave your network |
#
# The first is Sentence Transformers' own: one process for each device. For plain processes,
# `stream(model, "shard-3.parquet", "vectors/shard-3")` in each is all there is: it can be killed and goes on, and the
# exercise cuts the shards. Take the simplest way that meets the deadline.
#
# ## Recap
#
# - **Run**: a class with `__init__` and `__call__`, `map_batches` over an actor pool, ids beside vectors; the same
#   vectors as the loop's, asserted. On one small machine, start-up and memory were the price.
# - **Size**: on a machine, actors × share + one task ≤ CPUs, or the job waits in silence. A dead process is replaced
#   and its batch done again, so writing must be idempotent; an exception ends the job.
# - **Decide**: the work costs the same on any number of machines, each adds a start-up, and none can beat it. The
#   fewest machines that meet the deadline are the cheapest.
#
# Test yourself: Why does a share of CPUs that reserves no core stop a job? Why can the second run of a batch do harm? A
# job takes two hours on one machine and starts up for half an hour: which is the shortest time for any number?
#
# Now the exercise: [shards, pools, deadlines](../exercises/13_scaling_out/13_scaling_out.ipynb)
#
# Sources: Moritz et al. 2018, *Ray: A Distributed Framework for Emerging AI Applications*
# ([arXiv](https://arxiv.org/abs/1712.05889)); Ray's documentation on [batch
# inference](https://docs.ray.io/en/latest/data/batch_inference.html), [fault
# tolerance](https://docs.ray.io/en/latest/ray-core/fault-tolerance.html) and
# [jobs](https://docs.ray.io/en/latest/cluster/running-applications/job-submission/index.html), and the source of the
# version installed here for the limit on waiting; prices from `helpers/facts/prices.csv`.
