"""Record references of models, right and under each fault, into `helpers/facts/parity/`.

    python -m tools.parity all-MiniLM-L6-v2 all-mpnet-base-v2 multilingual-e5-small-q4

`gpu.yml` runs it for models of the hub. A record is a quarter of a megabyte or less, in half precision.
"""

import sys

from helpers import load, weights
from helpers.parity import Reference, record
from helpers.parity.recorded import FOLDER


def main(names: list[str]) -> None:
    """Record each; a stand-in is refused, since it isn't the model."""
    for name in names:
        model = load(name, device="cpu")
        if not weights(model).real:
            raise SystemExit(f"{name}: its real weights aren't here, so there is nothing to record.")
        path = FOLDER / f"{name.split('/')[-1]}.npz"
        record(Reference(model), path, weights(model).detail)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, {weights(model)}")


if __name__ == "__main__":
    main(sys.argv[1:])
