import importlib.util
import itertools
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from msmm.core.errors import UserError
from msmm.photos import word_vectors
from tests.conftest import ROOT

needs_words = pytest.mark.skipif(
    importlib.util.find_spec("wordllama") is None,
    reason="WordLlama is not installed: pip install 'msmm[words]'",
)
TAGS = ("dog", "car", "photo", "winter", "mouth", "sea", "road", "garlic", "2007", "")
WORDS = ("photograph", "snow", "teeth", "sedan", "ocean", "street", "house", "purple", "puppy", "red car")


@needs_words
@pytest.mark.parametrize(
    ("word", "tag"),
    [
        ("photograph", "photo"),
        ("snow", "winter"),
        ("teeth", "mouth"),
        ("SEDAN", "car"),
        ("red_car", "car"),
        ("purple", None),  # has a vector, near to none of them
        ("garage", None),  # known in pieces alone, of which garlic has one
        ("2008", None),
        ("a1", None),
        ("犬", None),
        ("собака", None),
        ("🐶", None),
        ("", None),
        (" _-", None),
        ("\ud800\0", None),  # half a character, as a damaged file may have
    ],
)
def test_what_words_are_read_as(word, tag):
    assert word_vectors.nearest(TAGS, 0.5)(word) == tag


@needs_words
def test_case_underscores_hyphens_and_unicode_forms_change_nothing():
    for word in ("Red-Car", "red_car", "  RED  car", "ｒｅｄ car"):  # the last in full width
        np.testing.assert_array_equal(word_vectors.vector(word), word_vectors.vector("red car"))
    assert np.linalg.norm(word_vectors.vector("red car")) == pytest.approx(1, abs=1e-6)
    assert not any(word_vectors.vector(word).any() for word in ("x", "x 3", "_", "2007"))


@needs_words
def test_cosines_are_those_of_the_files_of_the_package():
    """The tag and the threshold at which it stops being read, computed from the table of vectors itself."""
    import wordllama
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = pathlib.Path(wordllama.__file__).parent
    table = load_file(folder / "weights/l2_supercat_256.safetensors")["embedding.weight"].astype(np.float64)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))

    def unit(word):
        mean = table[tokenizer.encode(word, add_special_tokens=False).ids].mean(axis=0)
        return mean / np.linalg.norm(mean)

    with_vectors = TAGS[:7]
    for word in ("photograph", "snow", "teeth", "sedan", "ocean", "street", "red car"):
        cosines = [unit(word) @ unit(tag) for tag in with_vectors]
        best = int(np.argmax(cosines))
        assert word_vectors.nearest(TAGS, cosines[best] - 1e-4)(word) == with_vectors[best]
        assert word_vectors.nearest(TAGS, cosines[best] + 1e-4)(word) is None


@needs_words
def test_a_higher_threshold_only_leaves_out():
    thresholds = np.linspace(0, 1, 11)
    said = [[word_vectors.nearest(TAGS, t)(word) for word in WORDS] for t in thresholds]
    for lower, higher in itertools.pairwise(said):
        assert all(h in (None, low) for low, h in zip(lower, higher, strict=True))
    assert {tag is None for tag in said[5]} == {True, False} and set(said[-1]) == {None}


@needs_words
def test_what_a_word_is_read_as_does_not_depend_on_the_words_before_it_and_the_first_of_equal_tags_wins():
    one = {word: word_vectors.nearest(TAGS, 0.5)(word) for word in WORDS}
    word_vectors.nearest.cache_clear()
    assert {word: word_vectors.nearest(TAGS, 0.5)(word) for word in reversed(WORDS)} == one
    assert word_vectors.nearest(("Photo", "photo", "PHOTO"), 0.5)("photograph") == "Photo"
    assert word_vectors.nearest((), 0.0)("photograph") is None


@needs_words
def test_vectors_come_from_the_package_without_a_network_and_not_before_a_word_is_asked_for(tmp_path):
    code = """if True:
        import os, socket, sys
        def refuse(*_): raise OSError("no network")
        socket.socket.connect = socket.getaddrinfo = refuse
        from msmm.photos import word_vectors
        find = word_vectors.nearest(("photo",), 0.5)
        assert word_vectors.nearest(("photo",), None) is None and "wordllama" not in sys.modules
        assert find("photograph") == "photo" and "wordllama" in sys.modules
        assert "tensorflow" not in sys.modules and os.listdir() == []"""
    env = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(UserError, match=r"--nearest_tags needs wordllama: pip install 'msmm\[words\]'"):
        word_vectors.require()
