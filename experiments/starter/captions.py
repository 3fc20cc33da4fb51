"""Labels and tags of captions: words that mean a label, and the other words."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from experiments.starter.labels import ATTRIBUTES, phrases_of
from tfrecords_tools.datasets.mscoco import STOP_WORDS


class Lexicon:
    """The phrases that mean labels, in the singular and the plural.

    Attributes:
        labels: the labels whose phrases are known.
    """

    def __init__(self, labels: Sequence[str]):
        self.labels = tuple(labels)
        self._phrases: dict[tuple[str, ...], set[str]] = {}
        for label in self.labels:
            for phrase in phrases_of(label):
                for form in _numbers(phrase):
                    self._phrases.setdefault(tuple(form.split()), set()).add(label)
        self._longest = max(map(len, self._phrases), default=1)

    def read(self, captions: Iterable[str]) -> tuple[set[str], set[str]]:
        """Returns the labels that an image's captions name, and their other words.

        The longest phrase counts: "hot dog" names no dog, and "train station" no train. Of two phrases that
        overlap, the first counts. No word of a phrase is among the other words, unless it stands in the
        captions elsewhere and means no label by itself. Stop words,
        ATTRIBUTES and single letters are left out.
        """
        labels, others = set(), set()
        for caption in captions:
            words = re.findall("[a-z]+", unicodedata.normalize("NFKC", caption).lower())
            start = 0
            while start < len(words):
                length, meant = self._match(words[start : start + self._longest])
                labels |= meant
                others |= set() if meant else {words[start]}
                start += length
        return labels, {word for word in others - STOP_WORDS - ATTRIBUTES if len(word) > 1}

    def _match(self, words: list[str]) -> tuple[int, set[str]]:
        """Returns the length and the labels of the longest phrase at the beginning of `words`."""
        for length in range(len(words), 0, -1):
            if meant := self._phrases.get(tuple(words[:length])):
                return length, meant
        return 1, set()


def _numbers(phrase: str) -> tuple[str, str]:
    """Returns a phrase in the singular and in the regular plural."""
    if re.search("[^aeiou]y$", phrase):
        return phrase, phrase[:-1] + "ies"
    if re.search("(s|x|z|ch|sh)$", phrase):
        return phrase, phrase + "es"
    return phrase, phrase + "s"
