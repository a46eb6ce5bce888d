"""Run the first cells of every notebook, up to its set-up, in the environment that a learner installs.

`python -m tools.first_cells` in an environment with `.[lab]` alone finds an import that only the tests' one has.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent


def first_cells(path: Path) -> str | None:
    """What went wrong in a notebook's cells up to its first one that imports; None if nothing did."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    imports = next(i for i, cell in enumerate(code) if "import " in cell.source)
    notebook.cells = code[: imports + 1]
    try:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    return None


def main() -> None:
    """Print each notebook whose set-up fails, and exit with 1 if one does."""
    folders = ("notebooks", "exercises", "solutions")
    troubles = {path: first_cells(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.ipynb"))}
    failed = [f"{path.relative_to(ROOT)}: {trouble}" for path, trouble in troubles.items() if trouble]
    sys.exit("\n".join(failed) or None)


if __name__ == "__main__":
    main()
