"""Writes the generated pages of the site: settings, commands, and the Python reference.

    python docs/generate.py FOLDER        # `make docs` writes docs/reference, which is not committed

The pages come from the settings' dataclasses, from `--help` of every command, and from docstrings.
"""

import ast
import functools
import pathlib
import re
import subprocess
import sys

from msmm.configs import CONFIGS
from msmm.configs.settings import flat_settings

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("msmm", "tfrecords_tools", "experiments")


def docstring(path: pathlib.Path) -> str:
    """Returns the docstring of a Python file."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


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
    text = re.sub(r"\n(?:/\S+\.py|[\w.]+):(?=\n)", "", help_text(command))
    text = text.partition("\nTry --helpfull")[0]
    entries = re.split(r"\n(?=  --)", text)
    kept = [entry for entry in entries if "[setting]" not in entry]
    note = ["", "  and every setting (see the page Settings)"] if len(kept) < len(entries) else []
    return "\n".join([*"\n".join(kept).strip().splitlines(), *note])


def command_pages() -> dict[str, str]:
    """Returns the page with the help of every command."""
    lines = ["# Commands", "", "Every command answers `--help` with the text on this page, and lists its"]
    lines += [
        "settings, which are on [the page of settings](settings.md). `python -m msmm` lists all commands.",
        "",
    ]
    lines += ["| command | |", "| --- | --- |"]
    for command, title in commands().items():
        lines.append(f"| [`{command}`](#{command.replace('.', '-')}) | {title} |")
    for command in commands():
        heading = f"## python -m {command} {{ #{command.replace('.', '-')} }}"
        lines += ["", heading, "", "```text", own_help(command), "```"]
    return {"commands.md": "\n".join(lines)}


def _bounds(metadata) -> str:
    if "choices" in metadata:
        return ", ".join(f"`{choice}`" for choice in metadata["choices"])
    signs = {"at_least": "≥", "above": ">", "below": "<"}
    return ", ".join(f"{sign} {metadata[name]}" for name, sign in signs.items() if name in metadata)


def _value(value) -> str:
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text}`" if text else "empty"


def settings_pages() -> dict[str, str]:
    """Returns the page with every setting: default, bounds, unit and source, and the data sets' own values."""
    base = CONFIGS["nus_wide"]()
    groups: dict[str | None, list[str]] = {}
    for name, setting in flat_settings(base).items():
        unit = setting.field.metadata["help"]
        default = _value(setting.value(base))
        row = f"| `--{name}` | {default} | {_bounds(setting.field.metadata)} | {unit.replace('|', chr(92) + '|')} |"
        groups.setdefault(setting.group, []).append(row)
    lines = [
        "# Settings",
        "",
        "Each setting is a flag (`--visual_epochs=3`) and, in Python, a field of nested",
    ]
    lines += [
        "dataclasses (`config.visual.epochs`, `msmm/configs/`). Defaults are the paper's for NUS-WIDE. The last"
    ]
    lines += ['section has the values that other data sets change. "Decision N" is on']
    lines += ["[the page of decisions](../research/decisions.md); Roman numerals are sections of the paper."]
    lines += ["`[f_v, f_t]` stands for the joined features."]
    for group, rows in groups.items():
        title = f"`{group}`: `--{group}_…`" if group else "Shared"
        anchor = f"group-{group or 'shared'}"
        lines += ["", f"## {title} {{ #{anchor} }}", ""]
        lines += ["| flag | default | allowed | unit and source |", "| --- | --- | --- | --- |", *rows]
    lines += ["", "## Values of the data sets", ""]
    for name, kind in CONFIGS.items():
        if rows := _changes(base, kind()):
            lines += [
                f"### `--config={name}`",
                "",
                docstring(ROOT / f"msmm/configs/{name}.py").splitlines()[0],
                "",
            ]
            lines += ["| flag | value | unit and source |", "| --- | --- | --- |", *rows, ""]
    return {"settings.md": "\n".join(lines)}


def _changes(base, config) -> list[str]:
    before, rows = flat_settings(base), []
    for name, setting in flat_settings(config).items():
        if setting.value(config) != before[name].value(base):
            rows.append(
                f"| `--{name}` | {_value(setting.value(config))} | {setting.field.metadata['help']} |"
            )
    return rows


def api_pages() -> dict[str, str]:
    """Returns a page per folder of Python modules, with a mkdocstrings directive for each module."""
    pages, index = {}, ["# Python reference", ""]
    index += ["One page per folder, generated from docstrings. WORKSPACE.md has the map of all folders.", ""]
    index += ["| folder | |", "| --- | --- |"]
    for package in PACKAGES:
        for init in sorted((ROOT / package).rglob("__init__.py")):
            folder = ".".join(init.parent.relative_to(ROOT).parts)
            modules = [folder] + [f"{folder}.{p.stem}" for p in sorted(init.parent.glob("[!_]*.py"))]
            modules = [m for m in modules if m not in commands()]
            page = f"api/{folder}.md"
            pages[page] = "\n\n".join([f"# {folder}", *(f"::: {module}" for module in modules)])
            index.append(f"| [`{folder}`]({folder}.md) | {docstring(init).splitlines()[0]} |")
    return {"api/index.md": "\n".join(index), **pages}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("error: expected the folder to write to: python docs/generate.py docs/reference")
    for name, text in (settings_pages() | command_pages() | api_pages()).items():
        path = pathlib.Path(sys.argv[1]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
