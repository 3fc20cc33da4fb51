"""The keywords that a photograph has already, and which tags of a model they are.

Nothing that a person wrote is lost, doubled or cut. A keyword that several programs have written in several
places comes once and whole. What cannot be read is reported.
"""

import codecs
import contextlib
import dataclasses
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from PIL import Image

from msmm.core.text import normalise_keyword, normalise_tag, singulars, split_joined
from msmm.photos import xmp
from msmm.photos.metadata import extract_metadata

MAX_TEXT = 1 << 16  # bytes of a text file of tags
MAX_CHARACTERS = 1 << 20  # of all keywords of a photograph
IPTC_BYTES = 64  # of a keyword; programs cut longer ones, some in the middle of a character
# What writes IPTC without a mark of its encoding: the code pages of Windows, of East Asia and of the old Mac.
_CODE_PAGES = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "koi8-r", "mac-roman", "cp437",
               "cp850", "shift-jis", "gbk", "big5", "euc-kr", "euc-jp")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Keywords:
    """Keywords of a photograph.

    words: each once, as they are written. paths: with the levels above them, the keyword last. problems:
    causes why some were not read.
    """

    words: tuple[str, ...] = ()
    paths: tuple[tuple[str, ...], ...] = ()
    problems: tuple[str, ...] = ()


class Tags:
    """The tag vocabulary of a model, to look words up in."""

    def __init__(self, tags: Sequence[str]):
        self._exact: dict[str, str] = {}
        self._plural: dict[str, str] = {}
        self._joined: dict[str, str] = {}
        for tag in tags:  # in order, so that the earlier of two that are alike is found
            name = normalise_keyword(tag)
            self._exact.setdefault(name, tag)
            self._joined.setdefault(_join(name), tag)
            for singular in singulars(name) - {name}:
                self._plural.setdefault(singular, tag)

    def find(self, word: str) -> str | None:
        """Returns the tag that a word is: equal but for Unicode form, case and spaces, or its singular, its
        plural, or the same letters without spaces and hyphens ("Golden Gate" for `goldengate`). The mark of a
        hashtag does not count."""
        name = normalise_keyword(word)
        for form in (name, *sorted(singulars(name) - {name}, key=lambda form: (-len(form), form))):
            if form in self._exact:
                return self._exact[form]
        return self._plural.get(name) or self._joined.get(_join(name))

    def split(
        self, words: Iterable[str], paths: Iterable[tuple[str, ...]] = ()
    ) -> tuple[list[str], list[str]]:
        """Returns the tags among words, and the words that are no tags, each once.

        Of `Nature|sky` and `Nature/sky` the last level counts as well as the whole, and of `paths` the whole.
        """
        known: dict[str, None] = {}
        unknown: dict[str, None] = {}
        for word in words:
            levels = [level for part in re.split(r"[|/]", word) if (level := xmp.clean(part))]
            tags = [self.find(word), self.find(levels[-1]) if levels else None]
            if not any(tags):
                unknown.setdefault(xmp.last_level(word), None)
            known.update(dict.fromkeys(filter(None, tags)))
        for path in paths:
            forms = (self.find(separator.join(path)) for separator in "|/") if len(path) > 1 else ()
            known.update(dict.fromkeys(filter(None, forms)))
        return list(known), list(unknown)


def _join(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name) or name


def read_embedded(image: Image.Image, data: bytes, others: Iterable[str] = ()) -> Keywords:
    """Reads the keywords in a photograph itself: of IPTC, XMP and Windows.

    Args:
      image: as `images.load` returns it.
      data: the bytes of its file.
      others: keywords that it has elsewhere, in a sidecar; IPTC ones that are cut from these are left out.
    """
    try:
        found = extract_metadata(image, data)
    except Exception:  # what Pillow keeps of a damaged file is of many types
        return Keywords(problems=("damaged metadata",))
    packets = []
    for packet in found.packets:
        try:
            packets.append(xmp.parse_any(packet))
        except xmp.BadPacket as error:
            found.problems.append(str(error))
    read = join_keywords([read_packet(packet) for packet in packets], found.windows)
    whole = [*read.words, *others]
    iptc = [decode_iptc(raw) for raw in found.iptc if not _is_rendering(raw, whole)]
    return join_keywords([Keywords(tuple(iptc), (), tuple(found.problems)), read])


def read_packet(packet: xmp.Packet) -> Keywords:
    """Returns the keywords of an XMP packet; the names of faces (regions) are none."""
    return Keywords(tuple(packet.subjects), tuple(packet.hierarchies))


def join_keywords(parts: Iterable[Keywords], more: Iterable[str] = ()) -> Keywords:
    """Joins keywords, each once, with the last levels of their paths.

    Args:
      parts: keywords in order; words go before last levels.
      more: further words.
    """
    parts = [*parts, Keywords(tuple(more))]
    words: dict[str, str] = {}  # by composed form: macOS writes decomposed ones
    paths = list(dict.fromkeys(path for part in parts for path in part.paths))
    for word in (xmp.clean(word) for part in parts for joined in part.words for word in split_joined(joined)):
        if word:
            words.setdefault(unicodedata.normalize("NFC", word), word)
    last = {_fold(level) for word in words.values() for level in (word, re.split(r"[|/]", word)[-1])}
    for *_, word in paths:
        if _fold(word) not in last:
            last.add(_fold(word))
            words.setdefault(unicodedata.normalize("NFC", word), word)
    problems = dict.fromkeys(problem for part in parts for problem in part.problems)
    if sum(map(len, words.values())) > MAX_CHARACTERS:
        words, paths = {}, []
        problems["more than a million characters of keywords"] = None
    return Keywords(tuple(words.values()), tuple(paths), tuple(problems))


def without_keywords(keywords: Keywords, ours: set[str]) -> Keywords:
    """Returns keywords without `ours`, normalised tags that a model has added.

    Other programs may have put them into a hierarchy.
    """
    words = tuple(word for word in keywords.words if normalise_tag(word) not in ours)
    paths = tuple(path for path in keywords.paths if normalise_tag(path[-1]) not in ours)
    return Keywords(words, paths, keywords.problems)


def _fold(word: str) -> str:
    return unicodedata.normalize("NFC", xmp.clean(word)).casefold()


def decode_iptc(word: bytes) -> str:
    """Decodes UTF-8, also where it is cut in the middle of a character, or else Windows-1252, or Latin-1.

    A mark of the encoding says no more: other programs than the one that set it add keywords.
    """
    most = 4 if len(word) > IPTC_BYTES - 4 else 1  # bytes of a character that may be cut
    for end in range(len(word), len(word) - most, -1):
        with contextlib.suppress(UnicodeDecodeError):
            return word[:end].decode()
    try:
        return word.decode("cp1252")
    except UnicodeDecodeError:
        return word.decode("latin-1")


def _is_rendering(raw: bytes, whole: Iterable[str]) -> bool:
    """Returns whether an IPTC keyword is only what a program made of one of `whole`.

    It is the same in another encoding, with "?" for what that does not have, or cut at 64 bytes or letters.
    """
    raw = raw.strip(b" \0\t\r\n")
    encodings = ("ascii", "utf-8") if raw.isascii() else ("utf-8", *_CODE_PAGES)
    for word in whole:
        for form in {unicodedata.normalize(form, xmp.clean(word)) for form in ("NFC", "NFD")}:
            for encoding in encodings:
                encoded = form.encode(encoding, "replace")
                if raw == encoded != form.encode():
                    return True
                if len(raw) < len(encoded) and encoded.startswith(raw) and _is_cut(raw, encoding):
                    return True
    return False


def _is_cut(raw: bytes, encoding: str) -> bool:
    characters = len(raw.decode(encoding, "replace"))
    return IPTC_BYTES - 4 < len(raw) <= IPTC_BYTES or characters in (IPTC_BYTES - 1, IPTC_BYTES)


def read_text(photo: str) -> Keywords:
    """Reads the tags in the text file beside a photograph, `photo.jpg.txt` or `photo.txt`, if there is one.

    It is in UTF-8, in UTF-16 with a byte order mark, or else in Windows-1252, a kind of Latin-1.
    """
    texts, problems = [], []
    for name in (f"{photo}.txt", f"{os.path.splitext(photo)[0]}.txt"):
        if name == photo or not os.path.isfile(name):
            continue
        try:
            if os.path.getsize(name) > MAX_TEXT:
                problems.append(f"a text file of over {MAX_TEXT >> 10} KiB beside it")
            else:
                texts.append(_decode_text(pathlib.Path(name).read_bytes()))
        except OSError as error:
            problems.append(f"unreadable text file ({error.strerror})")
    return Keywords(tuple(separate("\n".join(texts))), (), tuple(problems))


def _decode_text(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig")
    return data.decode("cp1252", "replace")


def separate(text: str) -> list[str]:
    """Returns the keywords of a text, each once: they are separated by commas, semicolons or lines."""
    return list(join_keywords([], re.split(r"[,;\r\n]", text)).words)
