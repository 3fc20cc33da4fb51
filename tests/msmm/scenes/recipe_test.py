"""The drawn scenes: deterministic, labelled by visible concepts, noisily tagged."""

import hashlib
import itertools
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from msmm.scenes import recipe, tags
from msmm.scenes.painting import kinds, stuff
from msmm.scenes.painting.canvas import LIGHTS, Canvas

ROOT = pathlib.Path(__file__).parents[3]
NUMBER = 2000
CONCEPTS, TAGS = recipe.CONCEPTS, recipe.TAGS


class DrawnScenes:
    """The first scenes of seed 0 as arrays: pixels [N, 24, 24, 3], labels [N, C] and tags [N, T] bool."""

    def __init__(self):
        scenes = [recipe.draw(0, index, 24) for index in range(NUMBER)]
        self.pixels = np.stack([np.asarray(scene.image, np.float32) for scene in scenes])
        self.labels = np.array([[concept in scene.labels for concept in CONCEPTS] for scene in scenes])
        self.tags = np.array([[tag in set(scene.tags) for tag in TAGS] for scene in scenes])
        self.scenes = scenes

    def has(self, concept: str) -> np.ndarray:
        return self.labels[:, CONCEPTS.index(concept)]

    def tagged(self, words) -> np.ndarray:
        return self.tags[:, [TAGS.index(word) for word in words if word in TAGS]].any(axis=1)


@pytest.fixture(scope="module")
def drawn() -> DrawnScenes:
    return DrawnScenes()


def digest(seed: int, indices, size: int) -> str:
    """Returns one hash of pixels, labels and tags, independent of the drawing order."""
    parts = {}
    for index in indices:
        scene = recipe.draw(seed, index, size)
        parts[index] = scene.image.tobytes() + repr((scene.labels, scene.tags)).encode()
    return hashlib.sha256(b"".join(parts[index] for index in sorted(parts))).hexdigest()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_draws_the_same_bytes_in_any_order(hash_seed):
    program = (
        "import sys; from tests.msmm.scenes.recipe_test import digest;"
        "print(digest(5, reversed(range(40)), 48)); assert 'tensorflow' not in sys.modules"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.strip() == digest(5, range(40), 48)


def test_seed_and_index_both_change_the_scene():
    assert len({digest(seed, [index], 16) for seed in range(3) for index in (0, 1, 1_000_000)}) == 9


def test_the_image_size_changes_neither_labels_nor_tags():
    for index in range(40):
        small, large = (recipe.draw(3, index, size) for size in (32, 128))
        assert (small.labels, small.tags) == (large.labels, large.tags)
        assert small.image.size == (32, 32) and large.image.size == (128, 128)
        both = [np.asarray(s.image.resize((8, 8), Image.Resampling.BOX), float) for s in (small, large)]
        assert np.abs(both[0] - both[1]).mean() < 6  # grain and edges; two scenes differ by about 60


def test_labels_and_tags_are_well_formed(drawn):
    assert len(set(CONCEPTS)) == 24 and len(set(TAGS)) == len(TAGS) == 1000
    assert all(tag.isascii() and tag.isalnum() and tag == tag.lower() for tag in TAGS)
    for scene in drawn.scenes:
        assert scene.image.mode == "RGB" and scene.image.size == (24, 24)
        assert 1 <= len(scene.labels) <= 9 and len(scene.tags) <= 15
        assert set(scene.labels) <= set(CONCEPTS) and len(set(scene.labels)) == len(scene.labels)
        assert set(scene.tags) <= set(TAGS) and len(set(scene.tags)) == len(scene.tags)


def test_frequencies_and_quantities_have_a_long_tail(drawn):
    shares = np.sort(drawn.labels.mean(axis=0))[::-1]
    assert 0.5 < shares[0] < 0.65 and drawn.has("sky").mean() == shares[0]
    assert shares[2] < 0.35 and 0.003 < shares[-1] < 0.02  # every concept occurs
    quantity = np.bincount(drawn.labels.sum(axis=1), minlength=10) / NUMBER
    assert 3.0 < drawn.labels.sum(axis=1).mean() < 3.5
    assert min(quantity[1:5]) > 0.15 and quantity[5] > quantity[6] > quantity[7] > quantity[8] > 0


def test_the_stated_share_of_labels_is_missing(drawn):
    """Clouds imply sky, and ocean or lake imply water, unless the label was dropped."""
    pairs = [("clouds", "sky"), ("ocean", "water"), ("lake", "water")]
    missing = np.concatenate([~drawn.has(implied)[drawn.has(concept)] for concept, implied in pairs])
    assert len(missing) > 600 and 0.05 < missing.mean() < 0.115


def test_concepts_co_occur_plausibly(drawn):
    def share(concept, among):
        return drawn.has(concept)[among].mean()

    water = drawn.has("water") | drawn.has("ocean") | drawn.has("lake")
    assert share("boat", water) > 0.15 and share("boat", ~water) < 0.01
    assert share("beach", drawn.has("ocean")) > 0.3 and share("beach", drawn.has("lake")) == 0
    assert share("snow", drawn.has("mountain")) > 3 * share("snow", ~drawn.has("mountain"))
    assert share("car", drawn.has("buildings")) > 5 * share("car", ~drawn.has("buildings"))
    assert not (drawn.has("sunset") & drawn.has("night")).any()


def test_pixels_depend_on_the_labels(drawn):
    brightness = drawn.pixels.mean(axis=(1, 2, 3))
    night = drawn.has("night")
    assert brightness[night].mean() < 0.45 * brightness[~night].mean()
    red_less_blue = drawn.pixels[:, :12, :, 0].mean((1, 2)) - drawn.pixels[:, :12, :, 2].mean((1, 2))
    assert red_less_blue[drawn.has("sunset")].mean() > 40 + red_less_blue[~drawn.has("sunset")].mean()
    lower = drawn.pixels[:, 12:].mean(axis=(1, 2, 3))
    day, ground = ~night & ~drawn.has("sunset"), drawn.has("snow") & ~drawn.has("mountain")
    assert lower[day & ground].mean() > 30 + lower[day & ~drawn.has("snow")].mean()


def test_tag_frequencies_follow_zipfs_law(drawn):
    counts = drawn.tags.sum(axis=0)
    blocks = [counts[a:b].mean() for a, b in ((0, 10), (10, 100), (100, 400), (400, 1000))]
    assert all(first > 2 * second for first, second in itertools.pairwise(blocks))
    assert (counts > 0).mean() > 0.8  # and even the tail is used


def test_tags_are_informative_noisy_and_sometimes_absent(drawn):
    assert 0.06 < (~drawn.tags.any(axis=1)).mean() < 0.10
    assert 3.5 < drawn.tags.sum(axis=1).mean() < 5.5 and drawn.tags.sum(axis=1).max() == 15
    for concept in ("sky", "grass", "tree", "person", "buildings", "water", "flowers", "sunset"):
        word, has = drawn.tagged(tags.CONCEPT_WORDS[concept].split()[:1]), drawn.has(concept)
        assert 0.05 < word[has].mean() < 0.35  # often the word is missing,
        assert word[has].mean() > 2.5 * word[~has].mean() > 0  # and sometimes it is wrong


def test_camera_and_chatter_tags_are_independent_of_the_labels(drawn):
    for words in (tags.CAMERA_WORDS.split(), ["photo", "bw", "art", "2007", "2008"]):
        tagged = drawn.tagged(words)
        for concept in CONCEPTS:
            has = drawn.has(concept)
            spread = np.sqrt(tagged.mean() * (1 - tagged.mean()) / max(has.sum(), 1))
            assert abs(tagged[has].mean() - tagged.mean()) < 4.5 * spread


def test_tags_of_absent_concepts_occur(drawn):
    rare = ["plane", "bridge", "moon"]  # so rare that dropped labels cannot explain the tags
    words = [word for concept in rare for word in tags.CONCEPT_WORDS[concept].split()]
    event_words = {word for text in tags.EVENT_WORDS.values() for word in text.split()}
    present = np.any([drawn.has(concept) for concept in rare], axis=0)
    assert 0.01 < drawn.tagged(set(words) - event_words)[~present].mean() < 0.05


def test_tags_include_places_and_misspellings(drawn):
    coast, desert = (
        [word for word in TAGS if word in tags._PLACE_TOPICS[k].shares] for k in ("coast", "desert")
    )
    assert (
        drawn.has("ocean")[drawn.tagged(coast)].mean() > 0.7
        and drawn.has("ocean")[drawn.tagged(desert)].mean() < 0.2
    )
    assert {"bule", "cluods", "flwoer", "baech"} & set(TAGS)
    places = [word for topic in tags._PLACE_TOPICS.values() for word in topic.shares]
    assert len(set(places)) == len(places)


def test_tables_of_the_recipe_have_the_same_keys():
    assert set(tags.CONCEPT_WORDS) == set(tags.CONCEPT_SHARES) == set(CONCEPTS)
    assert set(tags.EVENT_WORDS) == set(tags.PLACE_PARTS) == set(kinds.KINDS)
    assert sum(kinds.KIND_SHARES.values()) == pytest.approx(1)


def test_covered_objects_are_not_visible():
    canvas = Canvas(64, LIGHTS["day"])
    square = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]
    canvas.draw_polygon(square, (255, 0, 0), ("car",))
    assert canvas.measure_shares()["car"] == pytest.approx(0.25, abs=0.02)
    canvas.draw_polygon([(x + 0.25, y) for x, y in square], (0, 255, 0), ("tree",))  # hides half of it
    assert canvas.measure_shares() == pytest.approx({"car": 0.125, "tree": 0.25}, abs=0.02)
    canvas.draw_polygon([(0.25, 0.25), (0.5, 0.25), (0.5, 0.5), (0.25, 0.5)], (0, 0, 255))  # without a label
    assert canvas.measure_shares() == pytest.approx({"car": 0.0625, "tree": 0.25}, abs=0.02)
    stuff.paint_ground(canvas, np.random.default_rng(0), 0.2, "grass")
    assert set(canvas.measure_shares()) == {"grass"} and canvas.measure_shares()["grass"] == pytest.approx(
        0.8, abs=0.02
    )


def test_framing_crops_the_picture_and_the_map_alike():
    rng = np.random.default_rng(0)
    for _ in range(20):
        canvas = Canvas(192, LIGHTS["day"])
        canvas.draw_polygon([(-1, -1), (2, -1), (2, 2), (-1, 2)], (255, 255, 255), ("sky",))
        canvas.draw_polygon([(0.1, 0.0), (0.3, 0.0), (0.5, 0.4), (0.1, 0.6)], (255, 0, 0), ("boat",))
        recipe._frame(rng, canvas, 96)
        picture, seen = np.asarray(canvas.image), np.asarray(canvas.map)
        assert picture.shape == (96, 96, 3) and seen.shape == (96, 96)
        red, boat = picture[..., 1] < 128, seen == 2
        assert (red & boat).sum() > 0.92 * (red | boat).sum()
        assert picture[..., 0].min() == 255 and (seen > 0).all()
