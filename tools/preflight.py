"""What `make run` asks before anything long: the data, the folder of results, the weights that lie in packages.

`python -m tools.preflight DATASET MODELS OUT -p encoding cp1252` prints what was understood of the data, in a second
since nothing here needs torch, or the one sentence of what is wrong, and then ends with 2.
"""

import sys
import tempfile
from pathlib import Path

from helpers import data
from helpers.errors import CourseError
from tools import packages


def main(dataset: str, models: str, output_dir: str, *parameters: str) -> None:
    """Read the data, try the folder, fetch what is named.

    Args:
        dataset: as the benchmark's parameter.
        models: names with commas between.
        output_dir: where results go.
        parameters: "-p", a name and a value, as papermill takes them; how the data are read is among them.

    Raises:
        CourseError: the data can't be read or are too few, the folder can't be written, or weights aren't what they
            were.
    """
    told = {name: value for name, value in zip(parameters[1::3], parameters[2::3], strict=False) if value != "auto"}
    found = data.read(dataset, columns=told.get("columns"), encoding=told.get("encoding"))
    found.check()
    print(found, flush=True)
    try:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise CourseError(
            f"{output_dir}: results can't be written there ({error.strerror}); name another folder: make run OUT=folder"
        ) from None
    packages.main([models])
    print("Loading the libraries: some seconds, up to a minute the first time ...", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except CourseError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("Broken off before anything was run.")
