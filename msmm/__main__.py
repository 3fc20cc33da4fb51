"""Lists every command of the project."""

import ast
import pathlib

from msmm.core import streams

PACKAGES = ("msmm", "tfrecords_tools", "experiments")


def main() -> None:
    streams.prepare()
    root = pathlib.Path(__file__).parents[1]
    for package in PACKAGES:
        for path in sorted((root / package).glob("*.py")):
            text = path.read_text(encoding="utf-8")
            if path.stem != "__main__" and '__name__ == "__main__"' in text:
                summary = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
                print(f"{f'python -m {package}.{path.stem}':<42}{summary}")
    print("\nMore about each: --help.")


if __name__ == "__main__":
    main()
