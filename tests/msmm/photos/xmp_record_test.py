"""What msmm writes into XMP packets and takes out again: hierarchies, decisions of a review, removal."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

from msmm.core.text import normalise_tag
from msmm.photos import sidecars, xmp, xmp_merging, xmp_record
from msmm.photos.xmp_record import Record
from tests.msmm.photos.xmp_test import DC, EMPTY_BAG, EXIFTOOL, NO_SUBJECT, PACKETS, RDF, STRANGE

LR = f"{{{xmp.LR}}}"
WITH_TREE = NO_SUBJECT.replace(
    "<dc:title>",
    f"<lr:hierarchicalSubject xmlns:lr='{xmp.LR}'><rdf:Bag><rdf:li>Nature|Sky</rdf:li></rdf:Bag>"
    "</lr:hierarchicalSubject><dc:title>",
)
needs_exiftool = pytest.mark.skipif(
    not shutil.which("exiftool"), reason="exiftool is not installed (Debian has it: libimage-exiftool-perl)"
)


def merge(old, labels, keywords=(), hierarchy=""):
    old = old.encode() if isinstance(old, str) else old
    return xmp_merging.merge_keywords(old, keywords, labels, "a model", normalise_tag, hierarchy)


def change(old, new_record, keywords=()):
    old = old.encode() if isinstance(old, str) else old
    return xmp_merging.apply_change(old, keywords, lambda record: new_record(record), normalise_tag)


def remove(old):
    return change(old, Record.without_machine)


def items(data, name):
    return ["".join(li.itertext()) for li in ET.fromstring(data).iterfind(f".//{name}/*/{RDF}li")]


def subjects(data):
    return items(data, f"{DC}subject")


def tree(data):
    return items(data, f"{LR}hierarchicalSubject")


@pytest.mark.parametrize("name", [*PACKETS, "with tree"])
def test_labels_are_written_below_one_parent_beside_the_keywords(name):
    packet = {**PACKETS, "with tree": WITH_TREE}[name]
    new = merge(packet, ["sky", "a|b <"], hierarchy="auto|msmm")
    assert subjects(new)[-2:] == ["sky", "a|b <"]
    assert tree(new)[-2:] == ["auto|msmm|sky", "auto|msmm|a b <"]
    assert xmp_record.read_record(xmp.parse(new)).paths == tuple(tree(new)[-2:])
    again = merge(new, ["sea"], hierarchy="other")
    assert subjects(again)[-1] == "sea" and tree(again)[-1] == "other|sea" and "sky" not in subjects(again)
    assert [path for path in tree(again) if "msmm" in path] == []
    theirs = {"with tree": ["Nature|Sky"], "none": [], "empty bag": [], "no subject": []}
    assert tree(again)[:-1] == theirs.get(name, ["Rome", "R&B"])


@pytest.mark.parametrize("hierarchy", ["", "msmm"])
@pytest.mark.parametrize("name", [*PACKETS, "with tree"])
def test_removal_restores_the_bytes_of_the_packet(name, hierarchy):
    packet = {**PACKETS, "with tree": WITH_TREE}[name]
    new = merge(packet, ["sky", "sea"], keywords=["of mine"], hierarchy=hierarchy)
    assert "sky" in subjects(new)
    if name == "empty bag":  # which was opened: equal but for its form
        expected = EMPTY_BAG.replace("<rdf:Bag />", "<rdf:Bag></rdf:Bag>").encode()
    else:
        expected = xmp_merging.EMPTY if packet is None else packet.encode()
    assert remove(new) == expected


def test_removal_takes_only_what_was_written():
    packet = merge(EXIFTOOL, ["rome", "sky", "sea"], hierarchy="msmm").decode()
    assert tree(packet) == ["Rome", "R&B", "msmm|sky", "msmm|sea"]  # Rome is the photographer's
    # Another program adds keywords, below the same parent too.
    packet = packet.replace("<rdf:li>sky</rdf:li>", "<rdf:li>sky</rdf:li><rdf:li>lake</rdf:li>", 1)
    packet = packet.replace(
        "<rdf:li>msmm|sky</rdf:li>", "<rdf:li>msmm|sky</rdf:li><rdf:li>msmm|lake</rdf:li>", 1
    )
    left = remove(packet)
    assert subjects(left) == ["Rome", "R&B", "lake"] and tree(left) == ["msmm|lake"]
    assert b"msmm:" not in left and remove(left) == left


def test_a_path_that_a_person_had_before_is_not_recorded_and_stays():
    packet = WITH_TREE.replace("Nature|Sky", "msmm|sky")
    new = merge(packet, ["sky", "sea"], hierarchy="msmm")
    assert tree(new) == ["msmm|sky", "msmm|sea"] and tree(remove(new)) == ["msmm|sky"]


def test_keywords_copied_from_the_photograph_stay_while_others_depend_on_them():
    new = merge(None, ["sky"], keywords=["Rome"]).decode()
    assert subjects(new) == ["Rome", "sky"]
    # digiKam adds a keyword to the list: without Rome, it would hide the photograph's own.
    added = new.replace("<rdf:li>sky</rdf:li>", "<rdf:li>sky</rdf:li><rdf:li>lake</rdf:li>", 1)
    assert subjects(remove(added)) == ["Rome", "lake"]
    # Nor are they taken out by a model that finds no label.
    assert subjects(merge(new, [], keywords=["Rome"])) == ["Rome"]
    assert remove(merge(new, [], keywords=["Rome"])) == xmp_merging.EMPTY


def test_confirmed_keywords_are_the_persons_and_rejected_ones_are_not_added_again():
    first = merge(EXIFTOOL, ["sky", "sea", "dog"], hierarchy="msmm")
    decided = Record(model="a model", confirmed=("sky", "cat", "rome"), rejected=("sea", "dog"))
    reviewed = change(first, lambda record: decided)
    assert subjects(reviewed) == ["Rome", "R&B", "sky", "cat"] and tree(reviewed) == []
    record = xmp_record.read_record(xmp.parse(reviewed))
    assert record.confirmed == ("sky", "cat") and record.added == ()  # Rome was there before
    annotated = merge(reviewed, ["sea", "sky", "Dog", "lake"], hierarchy="msmm")
    assert subjects(annotated) == ["Rome", "R&B", "sky", "cat", "lake"] and tree(annotated)[-1] == "msmm|lake"
    assert tree(annotated)[:-1] == ["Rome", "R&B", "sky", "cat"]
    left = remove(annotated)
    assert subjects(left) == ["Rome", "R&B", "sky", "cat"]
    assert xmp_record.read_record(xmp.parse(left)) == Record(
        confirmed=("sky", "cat"), rejected=("sea", "dog")
    )
    # Undoing the review restores the machine's keywords, and removing those the packet.
    undone = change(reviewed, lambda _: xmp_record.read_record(xmp.parse(first)))
    assert subjects(undone) == subjects(first) and tree(undone) == tree(first)
    assert remove(undone) == EXIFTOOL.encode()


@pytest.mark.parametrize("packet", [EXIFTOOL, STRANGE, NO_SUBJECT, None])
def test_an_undone_review_restores_the_bytes(packet):
    decided = change(packet, lambda _: Record(confirmed=("sky",), rejected=("sea",)), ["of mine"])
    assert "sky" in subjects(decided)
    assert change(decided, lambda _: Record()) == (packet.encode() if packet else xmp_merging.EMPTY)


def test_a_tree_that_is_an_attribute_is_refused():
    packet = (
        f'<r:RDF xmlns:r="{xmp.RDF}" xmlns:l="{xmp.LR}"><r:Description l:hierarchicalSubject="a"/></r:RDF>'
    )
    with pytest.raises(xmp.BadPacket, match="lr:hierarchicalSubject that is no list"):
        merge(packet, ["sky"], hierarchy="msmm")


def test_a_sidecar_that_holds_nothing_else_is_deleted(tmp_path):
    photo = str(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"")
    sidecars.write_labels(photo, ["of mine"], ["sky"], "a model", normalise_tag, "msmm")
    assert sidecars.remove_labels(photo, normalise_tag, dry_run=True) == ["sky"]
    assert sidecars.find_annotator(photo) == "a model"
    assert sidecars.remove_labels(photo, normalise_tag) == ["sky"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    assert sidecars.remove_labels(photo, normalise_tag) is None


def test_sidecars_of_other_programs_are_not_touched_by_removal(tmp_path):
    photo = str(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"")
    for content in (EXIFTOOL.encode(), b"no XML", xmp_merging.EMPTY):
        (tmp_path / "a.jpg.xmp").write_bytes(content)
        assert sidecars.remove_labels(photo, normalise_tag) is None
        assert (tmp_path / "a.jpg.xmp").read_bytes() == content


def test_the_levels_of_a_machine_path_are_no_keywords_of_a_person(tmp_path):
    """Lightroom writes every level of a hierarchy to dc:subject."""
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"")
    sidecars.write_labels(str(photo), [], ["sky"], "a model", normalise_tag, "auto|msmm")
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(
        path.read_bytes().replace(
            b"<rdf:li>sky<", b"<rdf:li>auto</rdf:li><rdf:li>msmm</rdf:li><rdf:li>sky<", 1
        )
    )
    keywords, machine = sidecars.read_sidecars(str(photo))
    assert {*keywords.words} == {"auto", "msmm", "sky"} == {*machine}


@needs_exiftool
@pytest.mark.parametrize("rewritten", [False, True])
def test_exiftool_reads_the_tree_and_keeps_the_record(tmp_path, rewritten):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"")
    sidecars.write_labels(str(photo), ["Rome"], ["sky", "sea"], "a model", normalise_tag, "msmm")
    path = f"{photo}.xmp"
    if rewritten:  # exiftool writes the packet anew, in its own form
        command = ["exiftool", "-q", "-overwrite_original", "-XMP:Rating=3", "-XMP-dc:Subject+=lake", path]
        subprocess.run(command, check=True)
    shown = json.loads(subprocess.run(["exiftool", "-j", path], capture_output=True, check=True).stdout)[0]
    assert shown["Subject"] == ["Rome", "sky", "sea"] + ["lake"] * rewritten
    assert shown["HierarchicalSubject"] == ["Rome", "msmm|sky", "msmm|sea"]
    assert sidecars.remove_labels(str(photo), normalise_tag) == ["sky", "sea"]
    if not rewritten:
        assert not (tmp_path / "a.jpg.xmp").exists()
        return
    left = json.loads(subprocess.run(["exiftool", "-j", path], capture_output=True, check=True).stdout)[0]
    assert left["Subject"] == ["Rome", "lake"] and left["Rating"] == 3
    assert "HierarchicalSubject" not in left
