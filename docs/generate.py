"""Writes the reference pages of the site, and no others: settings, commands, and the Python API.

    python docs/generate.py FOLDER        # `make docs` writes docs/reference, which is not committed

The pages come from the settings' dataclasses, from `--help` of every command, and from docstrings.
"""

import ast
import functools
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("msmm", "tfrecords_tools", "experiments")

COMMANDS = """\
# Commands

Every command answers `--help` with the text on this page and with its settings, which are on
[the page of settings](settings.md). `python -m msmm` lists all commands.

| command | |
| --- | --- |
"""
SETTINGS = """\
# Settings

Each setting is a flag (`--visual_epochs=3`) and, in Python, a field of nested dataclasses
(`config.visual.epochs`, see `msmm/configs/`). Defaults are the paper's for NUS-WIDE. The last section has the
values that other data sets change. "Decision N" is on [its page](../research/decisions.md); Roman
numerals are sections of the paper.
"""
API = """\
# Python reference

One page per folder, generated from docstrings. `WORKSPACE.md` has the map of all folders.

| folder | |
| --- | --- |
"""


def docstring(path: pathlib.Path) -> str:
    """Returns the docstring of a Python file."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


@functools.cache
def commands() -> dict[str, str]:
    """Returns module -> first line of its docstring, for every command."""
    paths = [p for package in PACKAGES for p in sorted((ROOT / package).glob("*.py"))]
    paths = [p for p in paths if "command_line.run(main" in p.read_text(encoding="utf-8")]
    return {f"{p.parent.name}.{p.stem}": docstring(p).splitlines()[0] for p in paths}


@functools.cache
def help_text(command: str) -> str:
    """Returns what `python -m COMMAND --help` prints."""
    arguments = [sys.executable, "-m", command, "--help"]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def own_help(command: str) -> str:
    """Returns the help of a command without the settings, which have a page of their own."""
    text = re.sub(r"\n(?:/\S+\.py|[\w.]+):(?=\n)", "", help_text(command))  # absl's names of modules
    entries = re.split(r"\n(?=  --)", text.partition("\nTry --helpfull")[0])
    kept = [entry for entry in entries if "[setting]" not in entry]
    note = "\n\n  and every setting" if len(kept) < len(entries) else ""
    return "\n".join(kept).strip() + note


def _anchor(command: str) -> str:
    return command.replace(".", "-")


def commands_page() -> str:
    """Returns the page with the help of every command."""
    rows = [f"| [`{command}`](#{_anchor(command)}) | {title} |" for command, title in commands().items()]
    sections = [
        f"## python -m {command} {{ #{_anchor(command)} }}\n\n```text\n{own_help(command)}\n```"
        for command in commands()
    ]
    return COMMANDS + "\n".join(rows) + "\n\n" + "\n\n".join(sections)


def _limits(metadata) -> str:
    """Returns the values that a setting allows."""
    if "choices" in metadata:
        return ", ".join(f"`{choice}`" for choice in metadata["choices"])
    signs = {"at_least": "≥", "above": ">", "below": "<", "at_most": "≤"}
    return ", ".join(f"{sign} {metadata[name]}" for name, sign in signs.items() if name in metadata)


def _value(value) -> str:
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text}`" if text else "empty"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def settings_page() -> str:
    """Returns the page with every setting, and the values that data sets change."""
    from msmm.configs import CONFIGS, baselines, modern, settings

    base = CONFIGS["nus_wide"]()
    defaults = settings.flat_settings(base)
    groups: dict[str | None, list[str]] = {}
    for name, setting in defaults.items():
        metadata = setting.field.metadata
        row = _row(f"`--{name}`", _value(setting.value(base)), _limits(metadata), metadata["help"])
        groups.setdefault(setting.group, []).append(row)
    lines = [SETTINGS]
    implementations = baselines.baseline_implementations(base) | modern.head_implementations(base)
    for group, rows in sorted(
        groups.items(), key=lambda item: (item[0] in implementations, item[0] is not None)
    ):
        title = f"`--{group}_…`" if group else "Shared settings"
        lines += [f"## {title} {{ #group-{group or 'shared'} }}", ""]
        lines += ["| flag | default | allowed | unit; source |", "| --- | --- | --- | --- |", *rows, ""]
    lines += ["## Values of the data sets", ""]
    for name, kind in CONFIGS.items():
        config = kind()
        rows = [
            _row(f"`--{flag}`", _value(setting.value(config)), setting.field.metadata["help"])
            for flag, setting in settings.flat_settings(config).items()
            if setting.value(config) != defaults[flag].value(base)
        ]
        if rows:
            title = docstring(ROOT / f"msmm/configs/{name}.py").splitlines()[0]
            lines += [f"### `--config={name}`", "", title, ""]
            lines += ["| flag | value | unit; source |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def api_pages() -> dict[str, str]:
    """Returns a page per folder of Python modules, with a mkdocstrings directive for each module."""
    pages, index = {}, []
    for init in sorted(init for package in PACKAGES for init in (ROOT / package).rglob("__init__.py")):
        folder = ".".join(init.parent.relative_to(ROOT).parts)
        modules = [folder] + [f"{folder}.{p.stem}" for p in sorted(init.parent.glob("[!_]*.py"))]
        directives = [f"::: {module}" for module in modules if module not in commands()]
        pages[f"api/{folder}.md"] = "\n\n".join([f"# {folder}", *directives])
        index.append(f"| [`{folder}`]({folder}.md) | {docstring(init).splitlines()[0]} |")
    return {"api/index.md": API + "\n".join(index), **pages}


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("--"):
        sys.exit("error: expected the folder to write to: python docs/generate.py docs/reference")
    pages = {"settings.md": settings_page(), "commands.md": commands_page(), **api_pages()}
    for name, text in pages.items():
        path = pathlib.Path(sys.argv[1]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
