"""Words of folders, file names, captions, places and cameras, and the time of a photograph."""

import io
import json
import shutil

import pytest
from PIL import Image

import msmm
from msmm.core import images
from msmm.inference import model_dir
from msmm.photos import batches, context, keywords, reading, xmp
from tests.msmm.conftest import picture
from tests.msmm.photos.metadata_test import bag, packet, resources, segment


def dataset(record, number, text):
    """Returns one IPTC data set."""
    content = text.encode()
    return bytes([0x1C, record, number]) + len(content).to_bytes(2, "big") + content


def jpeg(exif=None, inner=None, iptc=b"", packet=b""):
    """Returns a JPEG file with EXIF tags, tags of the Exif directory, IPTC data sets and an XMP packet."""
    tags = Image.Exif()
    for tag, value in (exif or {}).items():
        tags[tag] = value
    for tag, value in (inner or {}).items():
        tags.get_ifd(0x8769)[tag] = value
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG", exif=tags, **({"xmp": packet} if packet else {}))
    data = buffer.getvalue()
    block = segment(0xED, b"Photoshop 3.0\0" + resources(iptc)) if iptc else b""
    return data[:2] + block + data[2:]


def read(data, path="/pictures/IMG_1234.jpg", folders=()):
    loaded = images.load(data)
    return context.read_context(path, loaded, data, context.embedded_packets(loaded, data), folders)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("2019-07 Rome", ["rome"]),
        ("New York 2019", ["new york", "new", "york"]),
        ("birthday of Anna", ["birthday of anna", "birthday", "anna"]),
        ("Anna's birthday", ["anna birthday", "anna", "birthday"]),
        ("a very long name of a folder", ["very", "long", "name", "folder"]),
        ("100CANON", []),
        ("DCIM", []),
        ("SummerTrip", ["summer trip", "summer", "trip"]),
        ("Ko\u0308ln", ["köln"]),  # decomposed, as macOS writes it
        ("東京 2019", ["東京"]),
        ("हिन्दी", ["हिन्दी"]),
        ("2019\udcff07", []),  # bytes that are no UTF-8
    ],
)
def test_words_of_folders(name, words):
    assert context.folder_words(name) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("IMG_1234", []),
        ("DSC00017-Edit", []),
        ("PXL_20190712_101112345", []),
        ("sunset_beach-02", ["sunset", "beach"]),
        ("IMG-20190712-WA0003", []),
        ("view from the tower", ["view", "tower"]),
    ],
)
def test_words_of_file_names(name, words):
    assert context.split_words(name) == words


def test_words_come_from_every_place_each_once():
    iptc = dataset(2, 5, "Old Tower") + dataset(2, 120, "The tower in snow") + dataset(2, 90, "Århus")
    iptc += dataset(2, 101, "Denmark") + dataset(2, 25, "keyword")
    data = jpeg(
        exif={0x010E: "Winter walk", 0x010F: "NIKON CORPORATION", 0x0110: "NIKON D90"},
        inner={0xA434: "18-105mm"},
        iptc=iptc,
        packet=packet(
            bag("dc:title", "Frosty", kind="Alt"),
            bag("dc:description", "A castle", kind="Alt"),
            bag("dc:subject", "secret"),
            attributes='photoshop:City="Århus" photoshop:Country="Denmark" photoshop:Headline="Icicles"',
        ),
    )
    assert set(read(data, "/x/IMG_1 harbour.jpg", ["far", "Trips", "2019 Jutland", "day one"]).words) == {
        *("trips", "jutland", "day one", "day", "one", "harbour", "old", "tower", "snow", "århus", "denmark"),
        *("winter", "walk", "nikon", "nikon d90", "18-105mm", "frosty", "castle", "icicles"),
    }


def test_made_up_captions_of_cameras_are_left_out():
    assert read(jpeg(exif={0x010E: "OLYMPUS DIGITAL CAMERA         "})).words == ()


@pytest.mark.parametrize(
    ("data", "name", "taken"),
    [
        (jpeg(inner={0x9003: "2019:07:12 10:11:12"}), "IMG_20200101.jpg", "2019-07-12T10:11:12"),
        (jpeg(inner={0x9004: "2019:07:12 10:11:12"}), "a.jpg", "2019-07-12T10:11:12"),
        (jpeg(inner={0x9003: "0000:00:00 00:00:00"}), "a.jpg", None),
        (jpeg(exif={0x0132: "2019:07:12 10:11:12"}), "a.jpg", None),  # when it was edited
        (jpeg(), "IMG-20190712-WA0003.jpg", "2019-07-12"),
        (jpeg(), "2019-07-12 10.11.12.jpg", "2019-07-12"),
        (jpeg(), "IMG_20191312.jpg", None),
        (jpeg(), "120190712.jpg", None),
        (jpeg(packet=packet(attributes='photoshop:DateCreated="2019-07-12T10:11:12+02:00"')), "a.jpg",
         "2019-07-12T10:11:12"),
        (jpeg(packet=packet(attributes='photoshop:DateCreated="2019-07-12"')), "a.jpg", "2019-07-12"),
    ],
)  # fmt: skip
def test_time_of_a_photograph(data, name, taken):
    assert read(data, f"/x/{name}").taken == taken


def test_photographs_are_prepared_with_their_context_only_where_it_is_wanted(tmp_path):
    folder = tmp_path / "Rome 2019"
    folder.mkdir()
    (folder / "fountain.jpg").write_bytes(jpeg())
    (folder / "fountain.jpg.xmp").write_bytes(packet(bag("dc:description", "Trevi", kind="Alt")))
    path = str(folder / "fountain.jpg")
    assert reading.prepare_photo(path, reading.Preparation(32)).context == ()
    words = reading.prepare_photo(path, reading.Preparation(32, with_context=True)).context
    assert {"rome", "fountain", "trevi"} <= set(words)


def test_titles_of_a_packet_do_not_count_as_its_keywords():
    parsed = xmp.parse(packet(bag("dc:title", "Frosty", kind="Alt"), bag("dc:subject", "sea")))
    assert parsed.subjects == ["sea"] and parsed.values(xmp.TITLE) == ["Frosty"]


@pytest.mark.parametrize("reads", [False, True])
def test_only_a_model_of_a_library_is_given_the_words_of_a_folder(model_directory, tmp_path, reads):
    directory = tmp_path / "model"
    shutil.copytree(model_directory, directory)
    info = json.loads((directory / "model.json").read_text())
    (directory / "model.json").write_text(json.dumps(info | {"context_tags": True} if reads else info))
    (directory / "SHA256SUMS").unlink()  # which a person deletes who changes a model
    photo = tmp_path / "beach" / "IMG_1.jpg"
    photo.parent.mkdir()
    photo.write_bytes(jpeg())
    (annotation,) = msmm.load(directory).annotate([photo])
    assert ("seaside" in annotation.labels) == reads
    model = model_dir.load(directory)
    assert model.reads_context == reads
    preparation = reading.Preparation(32, with_context=model.reads_context)
    prepared = reading.prepare_photo(str(photo), preparation)
    (annotated,) = batches.annotate_batch(
        model, keywords.Tags(model.tags), [(str(photo), prepared)], batches.Counting(("other",))
    )
    # Words of the context that the model does not know are not reported as unknown keywords.
    assert annotated.tags == (["beach"] if reads else []) and annotated.unknown == ["other"]
