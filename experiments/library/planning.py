"""Plans a person's photo library: folders, names, keywords, noise and formats, drawn from a seed.

The photographs of MSCOCO have no library, so one is drawn around them: events in folders with names, days, a
camera, captions for some. Keywords are the true labels, as people give them: some are forgotten, the spelling
varies, words that no pixel shows stand among them, and some photographs have none.
"""

import dataclasses
import datetime
import pathlib
import random
from collections.abc import Sequence

from experiments.starter.captions import Lexicon
from experiments.starter.labels import OBJECTS
from tfrecords_tools.raw import mscoco_files

# Where programs put keywords, with the share of the photographs; of `MIXED`, IPTC and XMP at once.
IPTC, XMP, MIXED, HIERARCHY, SIDECAR = "IPTC", "XMP", "IPTC and XMP", "hierarchy", "sidecar"
PLACES = {IPTC: 0.25, XMP: 0.2, MIXED: 0.2, HIERARCHY: 0.15, SIDECAR: 0.2}
FORMATS = {"jpg": 0.82, "heic": 0.1, "png": 0.05, "dng": 0.03}
WITHOUT_KEYWORDS = 0.15  # share of the photographs
FORGOTTEN = 0.15  # share of the true labels
WITH_CAPTION = 0.3  # share of the photographs
LARGEST_EVENT = 40  # photographs
# label -> words of a folder, where an event is about it.
THEMES = {
    "snow": "Ski trip", "surfboard": "Surfing", "beach": "Beach", "tennis": "Tennis club",
    "baseball": "Baseball", "airplane": "Airport", "train": "Railway", "elephant": "Zoo", "giraffe": "Zoo",
    "zebra": "Zoo", "cat": "Our cat", "dog": "Dog", "cake": "Birthday", "pizza": "Dinner",
    "skateboard": "Skate park", "kitchen": "New kitchen", "street": "City walk", "desk": "Office",
}  # fmt: skip
CITIES = ("Lisbon", "Oslo", "Kyoto", "Annecy", "Bergen", "Porto", "Vienna", "Ghent", "Perth", "Quebec",
          "Siena", "Tallinn", "Cork", "Valencia", "Leiden", "Turku")  # fmt: skip
CAMERAS = (("NIKON CORPORATION", "NIKON D90"), ("Canon", "Canon EOS 600D"), ("Apple", "iPhone 12"),
           ("SONY", "DSC-RX100"))  # fmt: skip
# Keywords that no pixel shows: of the whole library, and of a photograph.
NOISE = ("family album", "to print", "best of", "Anna", "Berta", "Cem", "Nikon", "scan later", "shared")


@dataclasses.dataclass(frozen=True)
class PlannedPhoto:
    """A photograph of the library, before it is written.

    Attributes:
        source: the photograph of MSCOCO.
        path: from the library's folder, with the format's extension.
        truth: its labels, in everyday words.
        keywords: what its owner has written, noise included; () where nothing.
        given: the labels among these.
        place: one of PLACES.
        caption: or "".
        city, camera, taken: of its metadata; taken as "2019:07:12 10:11:12".
    """

    source: pathlib.Path
    path: str
    truth: tuple[str, ...]
    keywords: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    place: str = IPTC
    caption: str = ""
    city: str = ""
    camera: tuple[str, str] = CAMERAS[0]
    taken: str = ""

    @property
    def format(self) -> str:
        """The extension, a key of FORMATS."""
        return self.path.rpartition(".")[2]


def read_photographs(
    raw_dir: str | pathlib.Path, year: str | None, labels: Sequence[str], number: int, seed: int
) -> list[tuple[mscoco_files.Photograph, tuple[str, ...]]]:
    """Returns test photographs (val) in a drawn order, with their labels.

    Args:
        raw_dir: a folder in the layout of MSCOCO.
        year: "2014" or "2017", where both are there.
        labels: of the starter model.
        number: of photographs; all where there are fewer.
        seed: of the draw.
    """
    files = mscoco_files.FromFiles(raw_dir, year, crowds=True)
    lexicon, rows = Lexicon(labels), []
    for photograph in files.photographs("test"):
        named = lexicon.read(photograph.captions)[0] - set(OBJECTS.values())  # objects are annotated ones
        objects = {OBJECTS[name] for name in photograph.labels}
        truth = tuple(label for label in labels if label in objects | named)
        if truth and isinstance(photograph.image, pathlib.Path):
            rows.append((photograph, truth))
    random.Random(seed).shuffle(rows)
    return rows[:number]


def plan_library(
    photographs: Sequence[tuple[mscoco_files.Photograph, tuple[str, ...]]],
    seed: int,
    tagged: bool = True,
    formats: Sequence[str] = tuple(FORMATS),
) -> list[PlannedPhoto]:
    """Returns the plan of a library.

    Args:
        photographs: of `read_photographs`.
        seed: of everything that is drawn.
        tagged: whether there are keywords at all.
        formats: those that can be written here, jpg among them.
    """
    draw = random.Random(f"{seed} {tagged}")
    day = datetime.datetime(2015, 1, 3, 9)
    plans = []
    for theme, event in _group_events(photographs, draw):
        day += datetime.timedelta(days=draw.randint(2, 9))
        city = draw.choice(CITIES)
        folder = f"{day:%Y}/{day:%Y-%m-%d} {city}{f' {theme}' if theme else ''}"
        camera = draw.choice(CAMERAS)
        for index, (photograph, truth) in enumerate(event):
            extension = draw.choices(list(FORMATS), list(FORMATS.values()))[0]
            extension = extension if extension in formats else "jpg"
            plan = PlannedPhoto(
                source=pathlib.Path(str(photograph.image)),
                path=f"{folder}/IMG_{len(plans):04d}.{extension}",
                truth=truth,
                caption=photograph.captions[0].strip() if draw.random() < WITH_CAPTION else "",
                city=city,
                camera=camera,
                taken=f"{day + datetime.timedelta(minutes=3 * index):%Y:%m:%d %H:%M:%S}",
            )
            keywords = _draw_keywords(plan, draw)
            plans.append(dataclasses.replace(plan, **keywords) if tagged else plan)
    return plans


def _group_events(photographs: Sequence, draw: random.Random) -> list[tuple[str, list]]:
    """Returns (words of the folder, photographs) of events; half of the events are about something."""
    by_theme: dict[str, list] = {}
    for photograph, truth in photographs:
        themes = [THEMES[label] for label in truth if label in THEMES]
        theme = themes[0] if themes and draw.random() < 0.5 else ""
        by_theme.setdefault(theme, []).append((photograph, truth))
    events = []
    for theme, members in sorted(by_theme.items()):
        while members:
            size = draw.randint(8, LARGEST_EVENT)
            events.append((theme, members[:size]))
            members = members[size:]
    draw.shuffle(events)
    return events


def _draw_keywords(plan: PlannedPhoto, draw: random.Random) -> dict:
    """Returns the fields of a plan that are about keywords."""
    place = draw.choices(list(PLACES), list(PLACES.values()))[0]
    if plan.format == "dng":  # as Lightroom and darktable do
        place = SIDECAR
    elif plan.format != "jpg" and place in (IPTC, MIXED):
        place = XMP
    if draw.random() < WITHOUT_KEYWORDS:
        return {"place": place}
    given = tuple(label for label in plan.truth if draw.random() >= FORGOTTEN)
    noise = [word for word in NOISE if draw.random() < 0.06]
    noise += [plan.city] if draw.random() < 0.2 else []
    words = [_spell(word, draw) for word in given] + noise
    draw.shuffle(words)
    return {"place": place, "given": given, "keywords": tuple(words)}


def _spell(label: str, draw: random.Random) -> str:
    """Returns a label as people write it, sometimes with a capital."""
    return label.capitalize() if draw.random() < 0.2 else label
