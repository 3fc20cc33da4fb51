"""Merging and counting of keywords, by hand."""

import csv
import io

import pytest

from tfrecords_tools.library.labels import COLUMNS, KeywordGroups, describe_labels


def merged(*photos, wanted=()):
    """Returns {name: spellings with their counts} of the keywords of photographs."""
    groups = KeywordGroups(photos, wanted).groups.values()
    return {group.name: group.spellings for group in groups}


@pytest.mark.parametrize(
    ("photos", "groups"),
    [
        ([["Dog"], ["dog"], ["dog"]], {"dog": {"Dog": 1, "dog": 2}}),
        ([["Dog"], ["dog"], ["DOGS"]], {"Dog": {"Dog": 1, "dog": 1, "DOGS": 1}}),  # the first by alphabet
        ([["dogs"], ["dogs"], ["dog"]], {"dogs": {"dogs": 2, "dog": 1}}),
        ([["dogs"], ["cat"]], {"dogs": {"dogs": 1}, "cat": {"cat": 1}}),  # no singular to merge with
        ([["bus"], ["buses"]], {"bus": {"bus": 1, "buses": 1}}),
        ([["people"], ["Person"]], {"Person": {"people": 1, "Person": 1}}),
        ([["glass"], ["gla"]], {"glass": {"glass": 1}, "gla": {"gla": 1}}),  # -ss is no plural
        ([["Cafe\u0301"], ["café"]], {"Café": {"Café": 1, "café": 1}}),  # decomposed and composed
        ([["New  York"], ["new york"]], {"New York": {"New York": 1, "new york": 1}}),
        # Of two possible singulars, the one that more photographs have.
        (
            [["leaves"], ["leaf"], ["leaf"], ["leave"]],
            {"leaf": {"leaves": 1, "leaf": 2}, "leave": {"leave": 1}},
        ),
    ],
)
def test_keywords_are_merged_by_case_form_and_plural(photos, groups):
    assert merged(*photos) == groups


def test_names_of_a_list_keep_their_spelling_and_are_not_merged_with_one_another():
    photos = [["glass"], ["glasses"], ["dog"], ["DOGS"], ["hound"]]
    assert merged(*photos, wanted=["Glass", "glasses", "Dogs", "owl"]) == {
        "Glass": {"glass": 1},
        "glasses": {"glasses": 1},
        "Dogs": {"dog": 1, "DOGS": 1},
        "hound": {"hound": 1},
        "owl": {},
    }


def test_words_find_their_group_and_unknown_words_none():
    groups = KeywordGroups([["Dog", "dogs"], ["sea"]])
    assert groups.find(["DOGS", "dog", "hound"]) == {"dog"}
    assert groups.find([]) == set()


def test_table_lists_labels_first_and_makes_no_formulas():
    groups = KeywordGroups([["=1+2", "dog"], ["dogs"], ["sea"]])
    labels = []
    for group in groups.groups.values():
        group.photographs = group.train = 2
        if group.name == "dog":
            group.used_as = "label"
            labels.append(group)
        else:
            group.used_as, group.why = ("tag" if group.name == "sea" else ""), "on fewer than 3 photographs"
    rows = list(csv.reader(io.StringIO(groups.list_as_csv())))
    assert rows == [
        list(COLUMNS),
        ["dog", "2", "2", "0", "label", "dog: 1, dogs: 1", ""],
        ["sea", "2", "2", "0", "tag", "", "on fewer than 3 photographs"],
        ["'=1+2", "2", "2", "0", "nothing", "", "on fewer than 3 photographs"],
    ]
    assert describe_labels(labels, list(groups.groups.values())) == [
        "1 labels: dog: 2",
        "merged into labels: dog = dogs",
        "2 keywords are no labels, on fewer than 3 photographs: =1+2: 2, sea: 2",
        "labels without test photographs: dog",
    ]
