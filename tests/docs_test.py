"""The documentation: the site builds strictly, loads no outside resources and agrees with the code."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "WORKSPACE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "reference" not in path.parts),
]


def load_generator():
    """Returns the module docs/generate.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate():
    return load_generator()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Builds the site strictly in a temporary folder, as `make docs` does in the repository."""
    directory = tmp_path_factory.mktemp("site")
    shutil.copytree(
        ROOT / "docs", directory / "docs", ignore=shutil.ignore_patterns("reference", "__pycache__")
    )
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").replace("paths: [.]", f"paths: [{ROOT}]")
    (directory / "mkdocs.yml").write_text(settings, encoding="utf-8")
    for command in (
        [ROOT / "docs/generate.py", directory / "docs/reference"],
        ["-m", "mkdocs", "build", "--strict"],
    ):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
        result = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr
    return directory / "site"


def test_site_builds_strictly(site):
    assert (site / "reference/api/msmm.models.html").exists() and (site / "search/search_index.json").exists()


def test_generator_rejects_options_as_folder(tmp_path):
    for arguments in ([], ["--help"], ["--output"]):
        command = [sys.executable, ROOT / "docs/generate.py", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode and "expected the folder to write to" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_pages_load_no_outside_resources(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?([^\"\s>]+)", text)
        assert not [url for url in loaded if re.match(r"(https?:)?//", url)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\"?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_reference_pages_list_every_setting_and_command(site, generate):
    from msmm.configs import CONFIGS, settings

    page = (site / "reference/settings.html").read_text(encoding="utf-8")
    assert [
        name for name in settings.flat_settings(CONFIGS["nus_wide"]()) if f"<code>--{name}</code>" not in page
    ] == []
    crop = next(row for row in page.split("<tr>") if "<code>--finetune_crop</code>" in row)
    assert "&gt; 0" in crop and "≤ 1" in crop
    commands = (site / "reference/commands.html").read_text(encoding="utf-8")
    assert [name for name in generate.commands() if f"python -m {name}" not in commands] == []


def shell_commands(path):
    """Returns (command, its flags) of every line in a document that calls a command of the project."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"python -m ((?:msmm|tfrecords_tools|experiments)\.\w+)([^\n`]*)", text)
    return [(name, re.findall(r"\s--(\w+)", rest.partition("#")[0])) for name, rest in lines]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_flags_in_documents_exist(path, generate):
    for command, flags in shell_commands(path):
        assert command in generate.commands(), command
        known = {"help"} | set(
            re.findall(r"^  --(?:\[no\])?(\w+)", generate.help_text(command), re.MULTILINE)
        )
        unknown = {flag for flag in flags if flag not in known and flag.removeprefix("no") not in known}
        assert not unknown, f"{command} has no {unknown}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_named_in_documents_exist(path):
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`((?:msmm|tfrecords_tools|experiments|tests|docs)/[\w/.]+?)/?`", text)
    made = {"msmm/baselines/my_method.py", "tfrecords_tools/datasets/my_set.py", "msmm/configs/my_set.py"}
    made |= {"msmm/baselines/my_head.py"}
    assert [name for name in named if name not in made and not (ROOT / name).exists()] == []
    linked = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", text)
    generated = [target for target in linked if "reference/" in target]
    missing = [target for target in linked if not (path.parent / target).exists()]
    assert sorted(set(missing) - set(generated)) == []


def heading_anchors(path):
    """Returns the anchors that GitHub gives to the headings of a document; MkDocs gives the same."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    names = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", name) for name in re.findall(r"^#+ (.+)$", text, re.M)]
    return {re.sub(r"[^\w\- ]", "", name.strip().lower()).replace(" ", "-") for name in names}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_anchors_of_links_are_those_of_headings(path):
    for target, anchor in re.findall(
        r"\]\(((?!https?:)[^)#\s]*)#([^)\s]+)\)", path.read_text(encoding="utf-8")
    ):
        if "reference/" not in target:
            assert anchor in heading_anchors(path.parent / target if target else path), f"{target}#{anchor}"


def test_documents_named_in_code_exist():
    for package in ("msmm", "tfrecords_tools", "experiments"):
        for path in (ROOT / package).rglob("*.py"):
            named = re.findall(r"docs/[\w/]+\.md|\b[A-Z]{4,}\.md", path.read_text(encoding="utf-8"))
            assert [name for name in named if not (ROOT / name).exists()] == [], path


@pytest.mark.parametrize("name", ["README.md", "docs/tutorials/library.md"])
def test_library_example_in_documents_is_the_tested_example(name):
    from tests.msmm.api_test import EXAMPLE

    assert f"```python{EXAMPLE}```" in (ROOT / name).read_text(encoding="utf-8")


def test_readme_has_at_most_200_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
