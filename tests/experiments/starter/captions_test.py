"""Labels and tags of captions, counted by hand."""

import pytest

from experiments.starter import labels
from experiments.starter.captions import Lexicon

EVERY_LABEL = Lexicon([*labels.OBJECTS.values(), *labels.NOUNS])


@pytest.mark.parametrize(
    ("caption", "named", "others"),
    [
        ("Two kids on a sandy beach near the sea.", {"people", "beach", "ocean"}, {"two"}),
        ("Beaches, skies and cities at night-time", {"beach", "sky", "city", "night"}, set()),
        # The longest phrase counts: no dog, no train, no street of its own.
        ("A hot dog beside the train station", {"hot dog", "railway"}, set()),
        ("A woman holding her tennis racquets", {"people", "tennis racket", "tennis"}, {"holding"}),
        ("some ski slopes", {"skiing"}, set()),
        ("skis and skies", {"skis", "sky"}, set()),
        ("A street sign on a street corner", {"street sign", "street"}, set()),
        ("Black and white photo of a black and white TV", {"monochrome", "television"}, {"black", "white"}),
        ("A wooden bowl of vegetables, a veggie", {"bowl", "vegetables"}, {"wooden"}),
        ("skating boarders x", set(), {"skating", "boarders"}),
        ("A young smiling asian woman", {"people"}, set()),
        ("", set(), set()),
    ],
)
def test_a_caption_names_labels_and_leaves_other_words(caption, named, others):
    assert EVERY_LABEL.read([caption]) == (named, others)


def test_captions_of_one_photograph_are_joined():
    assert EVERY_LABEL.read(["a red bus", "a big bus in snow"]) == ({"bus", "snow"}, {"red", "big"})


def test_words_of_labels_that_were_not_chosen_are_tags():
    few = Lexicon(["people", "beach"])
    assert few.read(["A man rides a train to the beach"]) == ({"people", "beach"}, {"rides", "train"})


def test_tables_name_80_objects_once_and_no_attribute_of_people():
    shown = [*labels.OBJECTS.values(), *labels.NOUNS]
    assert len(labels.OBJECTS) == 80 and len(set(shown)) == len(shown)
    assert labels.OBJECT_WORDS.keys() <= set(labels.OBJECTS.values())
    attributes = {
        "man",
        "woman",
        "boy",
        "girl",
        "child",
        "baby",
        "young",
        "old",
        "happy",
        "sad",
        "smile",
        "dress",
    }
    assert not attributes & set(shown)
    for label in shown:
        phrases = labels.phrases_of(label)
        assert all(0 < len(phrase.split()) <= 4 and phrase == phrase.strip() for phrase in phrases), phrases
        assert phrases[0] == label
