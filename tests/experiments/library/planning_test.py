import collections

import pytest

from experiments.library import planning
from experiments.starter import labels
from tests.experiments.starter.starter_model_test import draw_layout


@pytest.fixture(scope="module")
def plans(photographs):
    return planning.plan_library(photographs, seed=0)


def test_every_photograph_is_planned_once_with_its_labels(photographs, plans):
    assert len({plan.path for plan in plans}) == len(plans) == len(photographs)
    count = collections.Counter((str(photograph.image), truth) for photograph, truth in photographs)
    assert collections.Counter((str(plan.source), plan.truth) for plan in plans) == count


def test_keywords_are_labels_some_forgotten_and_words_that_no_pixel_shows(plans):
    tagged = [plan for plan in plans if plan.keywords]
    assert 0.1 < 1 - len(tagged) / len(plans) < 0.25
    for plan in tagged:
        words = {word.casefold() for word in plan.keywords}
        noise = words - set(plan.given)
        assert set(plan.given) <= words & set(plan.truth)
        assert noise <= {word.casefold() for word in (*planning.NOISE, *planning.CITIES)}
    named, given = (sum(len(getattr(plan, name)) for plan in tagged) for name in ("truth", "given"))
    assert 0.1 < 1 - given / named < 0.2
    assert {plan.place for plan in tagged} == planning.PLACES.keys()


def test_no_word_of_the_noise_is_a_label():
    known = {word for label in (*labels.OBJECTS.values(), *labels.NOUNS) for word in labels.phrases_of(label)}
    assert not known & {word.casefold() for word in (*planning.NOISE, *planning.CITIES)}


def test_events_have_a_day_of_their_own_and_a_folder(plans):
    folders = collections.defaultdict(set)
    for plan in plans:
        folders[plan.path.rpartition("/")[0]].add((plan.taken[:10], plan.city, plan.camera))
    assert all(len(values) == 1 for values in folders.values())
    days = [values.pop()[0] for values in folders.values()]
    assert len(set(days)) == len(days)


def test_raw_files_have_sidecars_and_iptc_is_for_jpeg(plans):
    assert {plan.format for plan in plans} == planning.FORMATS.keys()
    assert {plan.place for plan in plans if plan.format == "dng"} == {planning.SIDECAR}
    assert not {plan.place for plan in plans if plan.format in ("png", "heic")} & {
        planning.IPTC,
        planning.MIXED,
    }


def test_a_plan_depends_on_the_seed_alone_and_new_photographs_have_no_keywords(photographs, plans):
    assert planning.plan_library(photographs, seed=0) == plans
    assert planning.plan_library(photographs, seed=1) != plans
    new = planning.plan_library(photographs, seed=0, tagged=False, formats=("jpg",))
    assert not any(plan.keywords or plan.given for plan in new) and {plan.format for plan in new} == {"jpg"}


def test_only_test_photographs_with_labels_are_read(tmp_path):
    draw_layout(tmp_path)
    rows = planning.read_photographs(tmp_path, None, ("people", "boat", "dog", "grass", "night"), 100, seed=0)
    assert {photograph.image.parent.name for photograph, _ in rows} == {"val2014"}
    assert collections.Counter(truth for _, truth in rows) == {
        ("people", "boat"): 10,
        ("dog", "grass"): 10,
        ("night",): 10,
    }
    assert len(planning.read_photographs(tmp_path, None, ("people",), 3, seed=0)) == 3
