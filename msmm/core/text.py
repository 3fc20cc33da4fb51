"""Text that people write: files in UTF-8, and the normal forms of labels and tags."""

import codecs
import pathlib
import re
import unicodedata
from collections.abc import Callable

from msmm.core.errors import UserError

SPREADSHEET = 'save it as "CSV UTF-8 (comma delimited)"'  # the name in Excel, which others understand

# UTF-32 first: its mark begins with the mark of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

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


# Characters without a width (soft hyphen, zero-width space, marks of direction and byte order), and controls.
_INVISIBLE = re.compile(
    "[\0-\x08\x0e-\x1b\x7f\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
# Joiners, which Persian, Indic scripts and emoji need, at the border of a text or beside a Latin character.
_IDLE_JOINER = re.compile("(?<![^\0-\u024f])[\u200c\u200d]|[\u200c\u200d](?![^\0-\u024f])")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?[,;\t]*(?=[\r\n]|\Z)', re.IGNORECASE)
_LINE_END = re.compile("\r\n|\r|\n")
# What files that are no text begin with.
_NO_TEXT = {
    b"PK\x03\x04": "a workbook (or zip file)",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"%PDF": "a PDF file",
}


def read_names(path: pathlib.Path, normalise: Callable[[str], str]) -> tuple[str, ...]:
    """Reads a vocabulary: one name per line, each through `normalise`.

    Blank lines are left out. So is what a spreadsheet adds to a single column: a `sep=` line, quotes around a
    name, separators at the end of every line. Raises UserError where a name is there twice, or where lines
    look like a table.
    """
    text, separator = split_separator_line(read_text(path))
    lines = [(number, line.strip()) for number, line in enumerate(_LINE_END.split(text), 1)]
    lines = [(number, line) for number, line in lines if normalise(line)]
    for end in (separator or ",", ";"):
        if lines and all(line.endswith(end) for _, line in lines):
            lines = [(number, line.rstrip(end + " \t")) for number, line in lines]
    _check_one_column(path, [line for _, line in lines])
    names: dict[str, int] = {}
    for number, line in lines:
        name = normalise(_unquote(line))
        if name in names:
            raise UserError(f"{path}:{number}: {name!r} is on line {names[name]} already")
        if name:
            names[name] = number
    if not names:
        raise UserError(f"{path} has no names: expected one a line")
    return tuple(names)


def _unquote(line: str) -> str:
    """Returns a cell of a table without the quotes that a spreadsheet puts around it."""
    quoted = re.fullmatch(r'"((?:[^"]|"")*)"', line)
    return quoted[1].replace('""', '"') if quoted else line


def _check_one_column(path: pathlib.Path, lines: list[str]) -> None:
    """Raises UserError where the lines of a vocabulary are probably a table, or one line with all names."""
    bare = [line for line in lines if not line.startswith('"')]
    for separator in (",", ";", "\t", "|"):
        if len(lines) == 1 and bare and len(bare[0].split(separator)) > 2:
            raise UserError(
                f"{path}: expected one name per line, got all in one line, with {separator!r} between"
            )
        numbers = [re.match(rf"(\d*)\s*{re.escape(separator)}\s*\S", line) for line in lines]
        numbered = [match for match in numbers if match and match[1]]
        if len(lines) > 1 and all(numbers) and len(numbered) >= len(lines) - 1:
            raise UserError(
                f"{path}: expected the names alone, one per line, got a number and {separator!r} before "
                "each: delete the column of numbers"
            )


def read_text(path: pathlib.Path) -> str:
    """Reads a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark. Raises UserError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    remedy = SPREADSHEET if path.suffix.lower() == ".csv" else "save it as UTF-8"
    for beginning, kind in _NO_TEXT.items():
        if data.startswith(beginning):
            raise UserError(f"{path}:1: expected UTF-8 text, got {kind}: {remedy}")
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding).rstrip("\x1a")  # with which DOS ends a file
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        got = f"byte 0x{data[error.start]:02x}" if encoding == "utf-8-sig" else f"damaged {encoding.upper()}"
        raise UserError(f"{path}:{line}: expected UTF-8 text, got {got}: {remedy}") from None
    if text[1:2] == "\0" or text[:1] == "\0":
        raise UserError(f"{path}:1: expected UTF-8 text, got UTF-16: {remedy}")
    return text


def split_separator_line(text: str) -> tuple[str, str | None]:
    """Returns a table without the line `sep=;` that Excel reads, and the separator of that line or None.

    The line becomes a blank line, so that other lines keep their numbers.
    """
    match = _SEPARATOR_LINE.match(text)
    return (text[match.end() :], match[1]) if match else (text, None)


def strip_invisible(text: str) -> str:
    """Returns a text without characters that are not seen, which come with copied text."""
    return _IDLE_JOINER.sub("", _INVISIBLE.sub("", text))


def normalise_label(text: str) -> str:
    """Returns composed Unicode (NFC) with single spaces, without invisible characters; the case stays."""
    return " ".join(unicodedata.normalize("NFC", strip_invisible(text)).split())


def normalise_tag(text: str) -> str:
    """Returns NFKC, case folded, with single spaces, without invisible characters.

    `Golden  GATE` and `golden gate` are one tag.
    """
    folded = unicodedata.normalize("NFKC", strip_invisible(text)).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def normalise_keyword(text: str) -> str:
    """Returns a keyword as `normalise_tag` does, without the mark of a hashtag: `#Beach` is `beach`."""
    name = normalise_tag(text)
    return name.lstrip("#").strip() or name


def split_joined(keyword: str) -> list[str]:
    """Returns the keywords of one in which a program has joined several by semicolons, as Windows does.

    A semicolon of `&amp;`, which another program has escaped once too often, separates nothing.
    """
    joined = re.search(r"&#?\w+;", keyword) is None
    return [part.strip() for part in keyword.split(";")] if joined else [keyword]


def singulars(name: str) -> set[str]:
    """Returns a normalised name and what it may be the plural of: for `knives` also knive, knif and knife."""
    forms = {name}
    for plural, singular in IRREGULAR.items():
        if re.search(rf"\b{plural}$", name):
            forms.add(name.removesuffix(plural) + singular)
    for ending, instead in PLURALS:
        if name.endswith(ending) and not name.endswith(("ss", "us")) and len(name) > len(ending) + 1:
            forms.add(name.removesuffix(ending) + instead)
    return forms
