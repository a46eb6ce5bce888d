"""What a project owes those who use and change it: licences, a version that means something, forms."""

import hashlib
import os
import re
import shutil
import subprocess
import tomllib

import check_jsonschema
import pytest
import yaml
from click.testing import CliRunner

from tools.build import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The texts as published; line ends aside, which git may change.
LICENCES = {
    "LICENSE": ("Apache-2.0", "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"),
    "LICENSE-texts": ("CC-BY-4.0", "fd3a263fe19ed8faa9068b43abaebafc02c77897b0c6fc09abc04bb592e5f16e"),
}
SCHEMAS = {
    "citation-file-format": "CITATION.cff",
    "dependabot": ".github/dependabot.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[0-9]-*.yml",
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_licences_are_in_the_tree_word_for_word_and_named_wherever_one_looks() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert PROJECT["license-files"] == list(LICENCES)
    assert PROJECT["license"].split(" AND ") == citation["license"] == [name for name, _ in LICENCES.values()]
    for file, (_, published) in LICENCES.items():
        assert hashlib.sha256(text(file).encode()).hexdigest() == published, file
        assert f"]({file})" in text("README.md"), file


def test_images_get_every_file_that_building_the_package_reads() -> None:
    read = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]}
    assert {f"!{name}" for name in read} <= set(text(".dockerignore").splitlines())
    for image in ("deploy/Dockerfile.server", "deploy/Dockerfile.lab"):
        assert any(read <= set(line.split()) for line in text(image).splitlines() if line.startswith("COPY ")), image


def test_the_changelog_begins_with_the_version_that_the_package_and_the_citation_have() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == PROJECT["version"] == yaml.safe_load(text("CITATION.cff"))["version"]
    assert versions == sorted(versions, key=lambda v: [int(n) for n in v.split(".")], reverse=True)


def test_files_that_others_read_follow_their_schema() -> None:
    for schema, pattern in SCHEMAS.items():
        files = sorted(map(str, ROOT.glob(pattern)))
        done = CliRunner().invoke(check_jsonschema.main, ["--builtin-schema", f"vendor.{schema}", *files])
        assert files and done.exit_code == 0, done.output


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")
def test_make_help_says_a_sentence_of_every_target_and_the_readme_s_commands_are_among_them() -> None:
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    told = subprocess.run(["make", "-s", "help"], cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    sentences = dict(re.findall(r"^  make (\S+) +([A-Z].+\.)$", told.stdout, re.MULTILINE))
    phony = " ".join(re.findall(r"^\.PHONY: (.+)$", text("Makefile"), re.MULTILINE)).split()
    assert sorted(sentences) == sorted(
        target for target in phony if not target.startswith(".")
    )  # a dot: not for people
    for page in ("README.md", "CONTRIBUTING.md", "docs/instructors.md", "docs/grading.md", "docs/learners.md"):
        assert set(re.findall(r"\bmake ([a-z-]+)\b(?=[`\n ])", text(page))) <= {*sentences, "room"}, page


def test_hooks_run_what_make_test_runs_by_tools_that_it_installs() -> None:
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    locked = {line.split("==")[0] for line in text("requirements.lock").splitlines()}
    assert repository["repo"] == "local" and "pre-commit" in locked
    for hook in repository["hooks"]:
        folder, _, tool = hook["entry"].split()[0].rpartition("/")
        assert folder == ".venv/bin" and hook["language"] == "system" and tool in {*locked, "python"}, hook["id"]
    recipe = text("Makefile").split("\ntest:")[1].split("\n\n")[0]
    for command in ("ruff check", "ruff format --check", "mypy"):
        assert f"$(BIN)/{command}\n" in recipe, command
        assert any(hook["entry"] == f".venv/bin/{command}" for hook in repository["hooks"]), command


# The contributor's page


def test_the_recipes_name_files_that_are_there() -> None:
    page = text("CONTRIBUTING.md")
    named = set(re.findall(r"`((?:helpers|lessons|tests|tools|docs)/[\w./]+|[\w.-]+\.(?:toml|lock|md))`", page))
    missing = {path for path in named if not (ROOT / path).exists() and "20_something" not in path}
    assert len(named) > 15 and not missing
    assert len(page.splitlines()) <= 130  # two pages
