"""Annotates photographs with keywords, as many as each needs (Algorithm 2); the photographs are not touched.

Without --model, the starter model that comes with the package chooses the keywords.

PATH is a photograph, a folder (with all below it), a glob in quotes, or - for a list on standard input. The
tags that the model reads are a photograph's keywords, and --tags for all photographs. Keywords are read from
IPTC, XMP and Windows metadata, and from XMP sidecars. They are also read from a text file beside the
photograph: photo.jpg.txt or photo.txt, separated by commas or lines. Of a keyword in a hierarchy (Nature|sky)
the last level counts, and the whole if it is a tag. Keywords that this command added before do not count.
Keywords that cannot be read are reported. A model of a packed photo library also reads words of folders, file
names, titles, captions, places, and the names of camera and lens.

HEIC, AVIF and camera raw files need pip install 'msmm[photos]'. Videos are counted and left out.

Folders of other programs (@eaDir, .thumbnails, Lightroom's caches …), backup copies (a.jpg~) and hidden files
are left out and counted. Name a file or folder itself to annotate it. --exclude leaves out more.

  text   lines on standard output
  json   JSON lines, csv a table: on standard output, or in the file --output
  xmp    keywords (dc:subject) in the XMP sidecar beside each photograph, with all that it holds already
  html   a gallery with probabilities in the folder --output

--hierarchy=PREFIX also writes each keyword as PREFIX|keyword into lr:hierarchicalSubject, so that programs
show the model's keywords below one parent. --remove takes out of sidecars only what a model has added.
Keywords that a person had before or has confirmed in a review stay.

Photographs whose annotation is in a sidecar, a file or a gallery already are not annotated again, so a
stopped run continues. Annotations of another model or counting rule are reported. --overwrite annotates all
again. Exit status: 0 done, 1 done except for skipped files, 2 a mistake.

  python -m msmm.annotate photos
  python -m msmm.annotate photos --model=runs/scenes/seed0/model
  python -m msmm.annotate photos --model=MODEL --format=xmp --dry_run
  python -m msmm.annotate photos --model=MODEL --format=xmp --hierarchy=msmm
  python -m msmm.annotate photos --remove
  python -m msmm.annotate 'photos/**/*.jpg' --model=MODEL --format=json --output=annotations.jsonl
  python -m msmm.annotate new.jpg --model=MODEL --tags=beach,holiday --quantity=top_k --k=5
  python -m msmm.annotate photos --model=MODEL --engine=openvino --precision=mixed
  python -m msmm.annotate photos --model=MODEL --exclude='*_small.jpg' --exclude=screenshots/
  find . -newer last_time -print0 | python -m msmm.annotate - --model=MODEL --format=html --output=gallery
"""

import sys

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError
from msmm.inference import engines, starter
from msmm.quantities.registry import COUNTING_RULES

_NOT_WITH_REMOVE = ("model", "output", "tags", "hierarchy", "overwrite", "quantity", "engine", "precision")
FORMATS = ("text", "json", "csv", "xmp", "html")
QUANTITIES = ("predicted", *COUNTING_RULES)
_MODEL = flags.DEFINE_string(
    "model", None, "A model directory, as runs/scenes/seed0/model. [the starter model of the package]"
)
_FORMAT = flags.DEFINE_enum("format", "text", FORMATS, "The output: see above.")
_OUTPUT = flags.DEFINE_string("output", None, "The file (json, csv) or folder (html) to write.")
_TAGS = flags.DEFINE_string("tags", "", "Tags of every photograph, a,b,c or a;b;c.")
_EXCLUDE = flags.DEFINE_multi_string(
    "exclude",
    [],
    "A glob of files and folders to leave out: of their names, or with / of their paths or ends of paths. "
    "May be given several times.",
)
_QUANTITY = flags.DEFINE_enum(
    "quantity",
    "predicted",
    QUANTITIES,
    "How many labels: predicted as held-out images chose when the model was trained, regression as in the "
    "paper, or another of docs/research/how_many_labels.md.",
)
_THRESHOLD = flags.DEFINE_float(
    "threshold",
    None,
    "With --quantity=threshold: the least probability. [as tuned on held-out images]",
    lower_bound=0,
    upper_bound=1,
)
_K = flags.DEFINE_integer("k", 3, "With --quantity=top_k: how many.", lower_bound=1)
_HIERARCHY = flags.DEFINE_string(
    "hierarchy",
    "",
    "With --format=xmp: the parent, as msmm or auto|msmm, below which keywords are written to "
    "lr:hierarchicalSubject as well. Choose one that is no keyword of yours.",
)
_REMOVE = flags.DEFINE_bool(
    "remove", False, "Take the keywords that a model has added out of the XMP sidecars; no model is needed."
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Show what would be written, and write nothing.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Annotate again what is done.")
_ENGINE = flags.DEFINE_enum(
    "engine",
    "auto",
    [engines.AUTO, *engines.ENGINES],
    "What runs the network; auto: the fastest one installed. What openvino and onnxruntime read is made once "
    "and kept in the model directory.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    engines.PRECISIONS,
    "What it computes in. bfloat16, with openvino, is faster, and chooses other labels for some photographs; "
    "mixed computes those in float32 again whose labels that could change.",
)
_WORKERS = flags.DEFINE_integer("workers", None, "Processes that read photographs. [one per core]")


def main(paths: list[str]) -> None:
    _check_flags(paths)
    from msmm.photos import finding

    finder = finding.Finder(paths, getattr(sys.stdin, "buffer", None), _EXCLUDE.value)
    found = list(finder)
    if not found:
        left_out = finder.describe_left_out(" (", ")")
        raise UserError(f"no photographs in {', '.join(map(repr, paths))}{left_out}")
    if _REMOVE.value:
        _remove_keywords(found)
        return
    from msmm.photos import batches, keywords, reading

    directory = _MODEL.value or starter.find_starter_model()
    model = engines.load(directory, _ENGINE.value, _PRECISION.value, command_line.import_tensorflow)
    to_sidecar = _FORMAT.value == "xmp"
    quantity, rule = _choose_rule()
    name = batches.name_annotator(model, rule)
    summary = batches.annotate_photographs(
        model,
        found,
        _open_output(name),
        preparation=reading.Preparation(
            model.image_size, _FORMAT.value == "html", to_sidecar, _OVERWRITE.value, model.reads_context
        ),
        counting=batches.Counting(tuple(keywords.separate(_TAGS.value)), quantity),
        num_workers=_WORKERS.value,
    )
    print(finder.describe_left_out(end="\n"), end="", file=sys.stderr)
    _report(summary, batches.name_annotator(model), name)
    if summary.skipped:
        sys.exit(1)


def _check_flags(paths: list[str]) -> None:
    """Raises what can be raised before TensorFlow takes its seconds."""
    if not paths:
        raise UserError("expected a PATH: a photograph, a folder, or - for a list on standard input")
    if _FORMAT.value == "html" and not _OUTPUT.value:
        raise UserError("expected --output=FOLDER for the pages of --format=html")
    if _FORMAT.value in ("text", "xmp") and _OUTPUT.value:
        where = "to standard output" if _FORMAT.value == "text" else "beside each photograph"
        raise UserError(f"--format={_FORMAT.value} writes {where}: leave --output out")
    if _HIERARCHY.value and _FORMAT.value != "xmp":
        raise UserError("--hierarchy is for --format=xmp")
    if _HIERARCHY.value and not all(level.strip() for level in _HIERARCHY.value.split("|")):
        raise UserError(f"expected --hierarchy as msmm or auto|msmm. Received: {_HIERARCHY.value!r}")
    given = [name for name in _NOT_WITH_REMOVE if flags.FLAGS[name].present]
    if _REMOVE.value and (given or _FORMAT.value not in ("text", "xmp")):
        raise UserError(f"--remove only clears sidecars: leave --{(given or ['format'])[0]} out")
    if _THRESHOLD.value is not None and _QUANTITY.value != "threshold":
        raise UserError("--threshold is for --quantity=threshold")
    if flags.FLAGS["k"].present and _QUANTITY.value != "top_k":
        raise UserError("--k is for --quantity=top_k")
    if _WORKERS.value is not None and _WORKERS.value < 1:
        raise UserError(f"expected --workers of 1 or more, got {_WORKERS.value}")


def _choose_rule():
    """Returns the counting rule for `Model.annotate`, and its name where it is not the model's own."""
    from msmm.quantities import counting_rules

    name = _QUANTITY.value
    if name == "predicted":
        return None, None
    if name == "top_k":
        return counting_rules.TopK(_K.value), f"{name}={_K.value}"
    if _THRESHOLD.value is not None:
        return counting_rules.AtLeast(_THRESHOLD.value), f"{name}={_THRESHOLD.value}"
    return name, name


def _open_output(model: str):
    """Returns the `outputs.Output` of the flags."""
    from msmm.photos import annotation_lines, gallery, outputs

    path, name = _OUTPUT.value or "", _FORMAT.value
    output: outputs.Output
    if name == "html":
        output = gallery.Gallery(path, model, _OVERWRITE.value)
    elif name == "xmp":
        output = outputs.Sidecars(model, _clean_hierarchy())
    elif path:
        form = annotation_lines.JSON if name == "json" else annotation_lines.CSV
        output = outputs.File(path, form, model, _OVERWRITE.value)
    elif name == "text":
        output = outputs.Text()
    else:
        form = annotation_lines.JSON if name == "json" else annotation_lines.CSV
        output = outputs.Text(lambda photo: form.line(photo, model), form.header)
    return outputs.DryRun(output) if _DRY_RUN.value else output


def _clean_hierarchy() -> str:
    from msmm.photos import xmp

    return "|".join(map(xmp.clean, _HIERARCHY.value.split("|")))


def _remove_keywords(found: list) -> None:
    """Takes what a model has added out of the sidecars of photographs, and prints what was done."""
    from msmm.core.text import normalise_keyword
    from msmm.photos import sidecars
    from msmm.photos.annotation_lines import escape_unprintable

    cleared = keywords = skipped = 0
    for path, _ in found:  # a photograph that cannot be read may have a sidecar of ours, too
        try:
            removed = sidecars.remove_labels(path, normalise_keyword, _DRY_RUN.value)
        except sidecars.CannotWrite as error:
            skipped += 1
            print(f"skipped {escape_unprintable(path)}: {error}", file=sys.stderr)
            continue
        if removed is not None:
            cleared += 1
            keywords += len(removed)
            print(f"{escape_unprintable(path)}: {', '.join(map(escape_unprintable, removed))}")
    would_be = "would be " * _DRY_RUN.value
    print(
        f"{keywords:,} keywords {would_be}removed from the sidecars of {cleared:,} photographs"
        + f"; {skipped:,} skipped" * bool(skipped),
        file=sys.stderr,
    )
    if skipped:
        sys.exit(1)


def _report(summary, model: str, name: str) -> None:
    """Prints what was done.

    Args:
      summary: counts of photographs.
      model: the annotator's name without its counting rule.
      name: its name with it.
    """
    from msmm.photos.annotation_lines import escape_unprintable

    words = [f"{summary.annotated:,} photographs " + ("would be " * _DRY_RUN.value) + "annotated"]
    if before := summary.done_before.total():
        words.append(f"{before:,} done before")
    if summary.skipped:
        causes = ", ".join(f"{cause}: {count}" for cause, count in summary.skipped.most_common())
        words.append(f"{summary.skipped.total():,} skipped ({causes})")
    print("; ".join(words), file=sys.stderr)
    others = {by: n for by, n in summary.done_before.items() if by != name}
    rules = sum(n for by, n in others.items() if f"{by} ".startswith(f"{model} "))
    for n, whose in (sum(others.values()) - rules, "model's"), (rules, "counting rule's"):
        if n:
            print(
                f"{n:,} of those done before are another {whose}: --overwrite annotates them again",
                file=sys.stderr,
            )
    if summary.unread:
        causes = ", ".join(f"{cause}: {count}" for cause, count in summary.unread.most_common())
        print(f"keywords not read in {summary.unread.total():,} places ({causes})", file=sys.stderr)
    if summary.unknown:
        most = ", ".join(
            f"{escape_unprintable(word)} ({count})" for word, count in summary.unknown.most_common(10)
        )
        print(f"keywords that the model does not know: {most}", file=sys.stderr)
    if _FORMAT.value == "html" and not _DRY_RUN.value:
        print(f"gallery: {escape_unprintable(str(_OUTPUT.value))}/index.html", file=sys.stderr)


if __name__ == "__main__":
    command_line.run(main, positional=True)
