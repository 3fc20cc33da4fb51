import numpy as np
import pytest
from PIL import Image

from msmm.core.contact_sheet import GAP, LINE, contact_sheet

RED, GREEN = (200, 0, 0), (0, 200, 0)
CELL = 100


def solid_image(colour, height=50, width=50):
    return np.full((height, width, 3), colour, np.uint8)


def bounding_box(sheet, colour):
    """Returns left, top, right and bottom of all pixels of exactly this colour."""
    y, x = np.nonzero((np.asarray(sheet) == colour).all(-1))
    return x.min(), y.min(), x.max() + 1, y.max() + 1


def inked_rows(sheet):
    """Returns which rows of the sheet have a pixel that is not white."""
    return (np.asarray(sheet) != 255).any((1, 2))


def test_images_are_laid_out_in_the_given_number_of_columns():
    colours = [(10 * i, 0, 0) for i in range(5)]
    sheet = contact_sheet([solid_image(c) for c in colours], [[]] * 5, columns=2, cell=CELL)
    assert sheet.size == (GAP + 2 * (CELL + GAP), GAP + 3 * (CELL + GAP))
    for i, colour in enumerate(colours):
        left, top = GAP + (i % 2) * (CELL + GAP), GAP + (i // 2) * (CELL + GAP)
        assert bounding_box(sheet, colour) == (left, top, left + CELL, top + CELL)


def test_aspect_ratio_is_kept_and_small_images_are_enlarged():
    sheet = contact_sheet(
        [solid_image(RED, 10, 20), solid_image(GREEN, 400, 100)], [[], []], columns=2, cell=CELL
    )
    left, top, right, bottom = bounding_box(sheet, RED)
    assert (right - left, bottom - top) == (100, 50)
    left, top, right, bottom = bounding_box(sheet, GREEN)
    assert (right - left, bottom - top) == (25, 100)


def test_a_coloured_caption_run_moves_whole_to_the_next_line():
    caption = [[("MMMMMM ", "red"), ("MMMM ", "blue"), ("MMMM", "red")], [("M", "blue")]]
    sheet = np.asarray(contact_sheet([solid_image(GREEN)], [caption], columns=1, cell=CELL)).astype(int)
    below = sheet[GAP + CELL :]
    red, blue = (below[..., 0] - below[..., 2] > 100), (below[..., 2] - below[..., 0] > 100)
    lines = [slice(2 + LINE * i, 2 + LINE * (i + 1)) for i in range(3)]
    assert [(bool(red[line].any()), bool(blue[line].any())) for line in lines] == [
        (True, False),
        (True, True),
        (False, True),
    ]


@pytest.mark.parametrize(
    "text",
    ["several words that do not fit in one line", "W" * 40, "two" + "W" * 40 + " words", "日本語 " * 20],
)
def test_captions_stay_within_their_cell(text):
    captions = [[[(text, "black")]], []]
    sheet = np.asarray(contact_sheet([solid_image(RED), solid_image(GREEN)], captions, columns=2, cell=CELL))
    below = (sheet[GAP + CELL :] != 255).any(-1)
    assert below[:, GAP : GAP + CELL].any()
    assert not below[:, GAP + CELL + 2 :].any()
    assert not below[-1].any()


def test_every_caption_line_adds_its_height():
    one = contact_sheet([solid_image(RED)], [[[("a", "black")]]], columns=1, cell=CELL)
    three = contact_sheet([solid_image(RED)], [[[("a", "black")]] * 3], columns=1, cell=CELL)
    assert three.height == one.height + 2 * LINE
    assert inked_rows(three)[one.height :].any()


def test_pillow_images_of_any_mode_and_unusual_characters():
    captions = [[[("é 日本 🙂 \u202e", "black")]], [[("", "black")]]]
    sheet = contact_sheet([Image.new("RGBA", (9, 9)), Image.new("L", (9, 9))], captions, columns=5)
    assert sheet.mode == "RGB"


def test_images_and_captions_must_match():
    with pytest.raises(ValueError, match="got 1 and 0"):
        contact_sheet([solid_image(RED)], [], columns=1)
