"""The keywords that a photograph has already, and which tags of a model they are."""

import codecs
import contextlib
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence

from PIL import Image, IptcImagePlugin

from msmm.core.text import normalise_tag, singulars
from msmm.photos import xmp

IPTC_KEYWORDS, IPTC_CHARSET = (2, 25), (1, 90)
UTF8_CHARSET = b"\x1b%G"
MAX_TEXT = 1 << 16  # bytes of a text file of tags
MAX_KEYWORDS = 1000  # of a photograph
MAX_LENGTH = 200  # characters of a keyword


class Tags:
    """The tag vocabulary of a model, to look words up in.

    nearest: what else a word that is no tag may be read as, such as `word_vectors.nearest` gives.
    """

    def __init__(self, tags: Sequence[str], nearest: Callable[[str], str | None] | None = None):
        self._nearest = nearest or (lambda word: None)
        self._exact, self._plural, self._joined = {}, {}, {}
        for tag in tags:  # in order, so that the earlier of two that are alike is found
            name = normalise_tag(tag)
            self._exact.setdefault(name, tag)
            self._joined.setdefault(_joined(name), tag)
            for singular in singulars(name) - {name}:
                self._plural.setdefault(singular, tag)

    def find(self, word: str) -> str | None:
        """The tag that a word is: equal but for Unicode form, case and spaces, or its singular, its
        plural, or the same letters without spaces and hyphens ("Golden Gate" for `goldengate`)."""
        name = normalise_tag(word)
        for form in (name, *sorted(singulars(name) - {name}, key=lambda form: (-len(form), form))):
            if form in self._exact:
                return self._exact[form]
        return self._plural.get(name) or self._joined.get(_joined(name))

    def split(self, words: Iterable[str]) -> tuple[list[str], list[str], dict[str, str]]:
        """The tags that words are or are read as, each once; the words that are none; and those that are
        read as their nearest tag, with it."""
        known, unknown, near = {}, {}, {}
        for word in words:
            tag = self.find(word)
            if tag is None and (tag := self._nearest(word)) is not None:
                near[word] = tag
            (unknown if tag is None else known).setdefault(word if tag is None else tag)
        return list(known), list(unknown), near


def _joined(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name) or name


def embedded(image: Image.Image) -> list[str]:
    """The keywords in a photograph itself: IPTC Keywords and XMP dc:subject, each once.

    Metadata that is damaged has none.
    """
    words = []
    with contextlib.suppress(Exception):  # Pillow's IPTC reader raises many types on damaged blocks
        said = IptcImagePlugin.getiptcinfo(image) or {}
        found = said.get(IPTC_KEYWORDS, [])
        utf8 = said.get(IPTC_CHARSET) == UTF8_CHARSET
        words += [_iptc_text(word, utf8) for word in (found if isinstance(found, list) else [found])]
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    with contextlib.suppress(xmp.BadPacket):
        words += xmp.parse(packet.encode() if isinstance(packet, str) else packet).subjects if packet else []
    return _each_once(words)


def _iptc_text(word: bytes, utf8: bool) -> str:
    """Without a word on its encoding it is that of the writing computer: UTF-8, or else Latin-1."""
    try:
        return word.decode()
    except UnicodeDecodeError:
        return word.decode("utf-8", "replace") if utf8 else word.decode("latin-1")


def in_text(photo: str) -> list[str]:
    """The tags in the text file beside a photograph, `photo.jpg.txt` or `photo.txt`, if there is one.

    It is in UTF-8, in UTF-16 with a byte order mark, or else in Windows-1252, a kind of Latin-1.
    """
    texts = []
    for name in (f"{photo}.txt", f"{os.path.splitext(photo)[0]}.txt"):
        with contextlib.suppress(OSError):
            if name != photo and os.path.isfile(name) and os.path.getsize(name) <= MAX_TEXT:
                texts.append(_decoded(pathlib.Path(name).read_bytes()))
    return separated("\n".join(texts))


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def separated(text: str) -> list[str]:
    """The keywords of a text, each once: they are separated by commas, semicolons or lines."""
    return _each_once(re.split(r"[,;\r\n]", text))


def _each_once(words: Iterable[str]) -> list[str]:
    found = dict.fromkeys(xmp.clean(word)[:MAX_LENGTH] for word in words)
    return [word for word in found if word][:MAX_KEYWORDS]
