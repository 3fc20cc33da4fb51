"""Text that people write: files in UTF-8, and the normal forms of labels and tags."""

import codecs
import pathlib
import re
import unicodedata

from msmm.core.errors import UserError

SPREADSHEET = 'save it as "CSV UTF-8 (comma delimited)"'  # the name in Excel, which others understand

# Of "breads and carbs", "and" is no class.
JOINING = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with")
)
# Plurals that no rule below makes; a compound ends like its last word.
IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "mice": "mouse",
    "people": "person",
    "teeth": "tooth",
}
PLURALS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"), ("es", ""), ("s", ""))


def read_names(path: pathlib.Path, normalise) -> tuple[str, ...]:
    """A vocabulary: one name a line, each through `normalise`; blank lines are left out."""
    lines = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        name = normalise(line)
        if name in lines:
            raise UserError(f"{path}:{number}: {name!r} is on line {lines[name]} already")
        if name:
            lines[name] = number
    if not lines:
        raise UserError(f"{path} has no names: expected one a line")
    return tuple(lines)


def read_text(path: pathlib.Path) -> str:
    """A text file in UTF-8, with or without a byte order mark. Raises UserError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        got = f"byte 0x{data[error.start]:02x}"
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            got = "UTF-16"
        remedy = SPREADSHEET if path.suffix.lower() == ".csv" else "save it as UTF-8"
        raise UserError(f"{path}:{line}: expected UTF-8 text, got {got}: {remedy}") from None


def normalise_label(text: str) -> str:
    """Composed Unicode (NFC) with single spaces; the case stays."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def normalise_tag(text: str) -> str:
    """NFKC, case folded, single spaces: `Golden  GATE` and `golden gate` are one tag."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def singulars(name: str) -> set[str]:
    """The name, normalised, and what it may be the plural of: of `knives` knive, knif and knife as well."""
    found = {name}
    for plural, singular in IRREGULAR.items():
        if re.search(rf"\b{plural}$", name):
            found.add(name.removesuffix(plural) + singular)
    for ending, instead in PLURALS:
        if name.endswith(ending) and not name.endswith(("ss", "us")) and len(name) > len(ending) + 1:
            found.add(name.removesuffix(ending) + instead)
    return found
