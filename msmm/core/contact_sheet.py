"""Images in a grid, each with coloured words under it. Pillow only."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 10  # pixels between cells and around the sheet
TEXT = 13  # pixels; the size of the letters
LINE = 17  # pixels from one line of text to the next

WIDER_FONTS = ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf")  # where Pillow's own lacks a letter

Span = tuple[str, str]  # a text and its colour


def contact_sheet(
    images: Sequence, captions: Sequence[Sequence[Sequence[Span]]], columns: int, cell: int = 160
) -> Image.Image:
    """Draws images over their captions, in rows of `columns`, on white.

    Pillow's own font draws plain English; other words take a font of the system, where there is one. Letters
    that the font lacks are drawn as boxes.

    Args:
      images: uint8 [H, W, 3] arrays or Pillow images, of any sizes; each is scaled into a cell.
      captions: for each image its lines; a line is a sequence of (text, colour). A text moves to the next
        line where it does not fit, and breaks where one line is too short for it.
      columns: images per row.
      cell: side of the square for an image, pixels.
    """
    if len(images) != len(captions) or not len(images):
        raise ValueError(f"expected as many images as captions, got {len(images)} and {len(captions)}")
    font = _font("".join(text for caption in captions for line in caption for text, _ in line))
    pictures = [_fit(image, cell) for image in images]
    texts = [[part for line in caption for part in _wrap(line, font, cell)] for caption in captions]
    rows = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    heights = [
        max(pictures[i].height for i in row) + LINE * max(len(texts[i]) for i in row) + GAP for row in rows
    ]
    width = GAP + min(columns, len(images)) * (cell + GAP)
    sheet = Image.new("RGB", (width, GAP + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        below = top + max(pictures[i].height for i in row)
        for column, i in enumerate(row):
            left = GAP + column * (cell + GAP)
            sheet.paste(pictures[i], (left + (cell - pictures[i].width) // 2, below - pictures[i].height))
            for number, line in enumerate(texts[i]):
                x = left
                for text, colour in line:
                    draw.text((x, below + 2 + number * LINE), text, fill=colour, font=font)
                    x += font.getlength(text)
        top += height
    return sheet


def _font(text: str):
    for name in () if text.isascii() else WIDER_FONTS:
        try:
            return ImageFont.truetype(name, TEXT - 1)
        except OSError:  # not on this system: the next
            continue
    return ImageFont.load_default(TEXT)


def _fit(image, cell: int) -> Image.Image:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    scale = cell / max(picture.size)
    size = [max(1, round(side * scale)) for side in picture.size]
    return picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def _wrap(line: Sequence[Span], font, width: int) -> list[list[Span]]:
    """Breaks a line into lines that fit `width` pixels."""
    lines, x = [[]], 0.0
    for run, colour in line:
        fits = font.getlength(run.rstrip()) <= width
        for part in [run] if fits else _pieces(run, font, width):
            if lines[-1] and x + font.getlength(part.rstrip()) > width:
                lines.append([])
                x = 0.0
            lines[-1].append((part, colour))
            x += font.getlength(part)
    return lines


def _pieces(text: str, font, width: int) -> list[str]:
    """Splits a text into words with the space after them; a word longer than a line is cut."""
    pieces = []
    for word in text.split():
        start = 0
        for end in range(1, len(word) + 1):
            if end - start > 1 and font.getlength(word[start:end]) > width:
                pieces.append(word[start : end - 1])
                start = end - 1
        pieces.append(word[start:] + " ")
    return pieces
