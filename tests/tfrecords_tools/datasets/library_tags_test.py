"""The tags of a photo library: context, and keywords that are no labels."""

import numpy as np

from tests.tfrecords_tools.conftest import names_by_image
from tests.tfrecords_tools.datasets.conftest import day, read_all


def test_tags_are_the_context_and_keywords_that_are_no_labels(add, pack):
    for number in range(40):
        sea = "Seas" if number % 4 == 0 else "sea"
        add(f"trip to Rome/{number} harbour.jpg", sea, "Anna", title="Old town", taken=day(number))
        if number < 20:
            add(f"rest/{number}.jpg", "sea", "Berta", taken=day(50 + number))
    dataset = pack(min_photos=60, hide_keywords=0.0)
    assert dataset.labels == ("sea",)
    trip, rest = {"trip to rome", "trip", "rome", "harbour", "old", "town"}, {"rest"}
    assert set(dataset.tags) == trip | rest | {"anna", "berta"}  # not the label's own keywords, sea and seas
    for split, keywords in (("train", True), ("test", False)):
        for image, (_, tags) in names_by_image(dataset, split).items():
            context, keyword = (trip, "anna") if image.startswith("trip") else (rest, "berta")
            assert tags == context | ({keyword} if keywords else set())
    assert dataset.has_context_tags


def test_keyword_that_equals_a_word_of_a_label_is_no_tag(add, pack):
    for number in range(40):
        add(f"{number}.jpg", "traffic lights", *["traffic"] * (number < 30), taken=day(number))
    dataset = pack(min_photos=31, hide_keywords=0.0)
    assert dataset.labels == ("traffic lights",) and dataset.tags == ()


def test_word_of_a_folder_stays_a_tag_where_it_is_a_label_too(add, pack):
    for number in range(40):
        add(f"{'beach' if number % 2 else 'town'}/{number}.jpg", "beach", taken=day(number))
    dataset = pack()
    assert dataset.labels == ("beach",) and set(dataset.tags) == {"beach", "town"}
    for image, (_, tags) in read_all(dataset).items():
        assert tags == {image.split("/")[0]}


def test_keywords_are_hidden_by_a_draw_in_training_and_all_of_them_in_test(add, pack):
    for number in range(120):
        add(f"{number}.jpg", "sea", *(f"{'ab'[number % 2]}x{k}" for k in range(2)), taken=day(number))
    tags, images = {}, {}
    for hide in (0.0, 0.5, 1.0):
        dataset = pack(min_photos=120, hide_keywords=hide)
        images[hide] = {image: names for image, (_, names) in names_by_image(dataset, "train").items()}
        tags[hide] = [len(names) for names in images[hide].values()]
        assert not any(names for _, names in names_by_image(dataset, "test").values())
    assert set(tags[0.0]) == {2} and set(tags[1.0]) == {0} and set(tags[0.5]) == {0, 1, 2}
    assert 0.3 < np.mean(tags[0.5]) < 0.7  # each is shown with probability 1/2 · 1/2
    assert 0.5 < np.mean([not count for count in tags[0.5]]) < 0.75  # 1/2 + 1/2 · 1/4
    other = names_by_image(pack(min_photos=120, split_seed=1), "train")
    assert any(other[image][1] != images[0.5][image] for image in other.keys() & images[0.5].keys())
