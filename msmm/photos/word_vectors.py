"""Keywords outside a model's tags, read as the tag whose word vector is nearest; needs [words].

The vectors are WordLlama's (https://github.com/dleemiller/WordLlama, MIT): 256 numbers for each of 32,000
words and pieces of words, mostly English; several words have their mean. They lie in its package, so that
nothing is downloaded, and are loaded at the first word that is no tag (0.9 s, 76 MiB).
"""

import functools
import importlib.util
import pathlib
import re
from collections.abc import Callable

import numpy as np

from msmm.core.errors import UserError
from msmm.core.text import normalise_tag
from msmm.scoring.borderline import ROUNDING, first_best

SIZE = 256
KEPT = 1 << 16  # words whose tag is remembered


def require() -> None:
    """Raises UserError where the package with the vectors is not installed."""
    if importlib.util.find_spec("wordllama") is None:
        raise UserError("--nearest_tags needs wordllama: pip install 'msmm[words]'")


@functools.lru_cache(8)
def nearest(tags: tuple[str, ...], threshold: float | None) -> Callable[[str], str | None] | None:
    """A word to the tag whose vector has the greatest cosine to its own, of equal ones the first; None where
    that is less than `threshold` or the word has no vector. Without a threshold there is nothing to ask.
    """
    if threshold is None:
        return None

    @functools.cache
    def vectors() -> np.ndarray:  # [T, SIZE], at the first word
        return np.stack([vector(tag) for tag in tags])

    @functools.lru_cache(KEPT)
    def find(word: str) -> str | None:
        own = vector(word)
        if not tags or not own.any():
            return None
        cosines = vectors() @ own
        best = first_best(cosines, ROUNDING)  # of equal ones the first tag
        return tags[best] if cosines[best] >= threshold else None

    return find


def vector(word: str) -> np.ndarray:
    """A word, or several parted by spaces, underscores or hyphens, in whatever case: a unit vector, float32
    [SIZE], or all 0 where it has none of its own.

    Of its own: with two letters, as numbers are near to numbers; and known as a whole. What is only known in
    pieces, down to the bytes of a letter, is near to all that shares one: "garage" to "garlic".
    """
    text = " ".join(re.sub(r"[\W_]+", " ", normalise_tag(word)).split())
    found = np.zeros(SIZE, np.float32)
    if len(re.findall(r"[^\W\d_]", text)) >= 2:
        words = _vectors()
        pieces = words.tokenize(text)[0].tokens
        if all(piece.startswith("▁") and piece != "▁" for piece in pieces):  # where a word begins
            found = words.embed(text)[0]
            found /= np.linalg.norm(found)
    return found


@functools.cache
def _vectors():
    require()
    import wordllama

    # Its own folder in the place of a cache: it looks for the tokenizer there, and else wants to download it.
    folder = pathlib.Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
