"""Describes the installation, and checks whether a model and a folder of photographs can be read.

Each function returns lines: name -> text. What prevents annotating is a UserError.
"""

import collections
import contextlib
import importlib.metadata
import pathlib
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import msmm
from msmm.core import images, photo_files, workers
from msmm.core.errors import UserError
from msmm.inference import engines, starter
from msmm.inference.model import Model
from msmm.photos import finding, reading
from msmm.photos.annotation_lines import escape_unprintable

DECODED = 100  # photographs of a folder
_SCENE = 320  # of the drawn image, pixels
_SEED, _INDEX = 0, 7  # of the drawn image
_SHOWN = 5  # causes with an example each


def describe_machine() -> dict[str, str]:
    """Returns Python and the processor."""
    cores = workers.cores()
    return {
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}, "
        f"{cores} core{'s' * (cores != 1)}",
        "msmm": msmm.__version__,
    }


def describe_tensorflow(import_tensorflow: Callable[[], None]) -> dict[str, str]:
    """Returns TensorFlow, Keras, the GPU and the engines. None is needed if another engine works."""
    lines = {
        "TensorFlow": _version("tensorflow") or "not installed",
        "Keras": _version("keras") or "not installed",
    }
    try:
        import_tensorflow()
        import tensorflow as tf

        names = [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
                 for gpu in tf.config.list_physical_devices("GPU")]  # fmt: skip
    except Exception as error:  # a broken installation raises whatever its libraries do
        lines["TensorFlow"] += (
            f", which cannot be imported: {' '.join(str(error).split()) or type(error).__name__}"
        )
        names = []
    if names:
        lines["GPU"] = ", ".join(names)
    elif pathlib.Path("/proc/driver/nvidia/version").exists():
        lines["GPU"] = "one of NVIDIA that TensorFlow does not use: see docs/guides/gpus.md"
    else:
        lines["GPU"] = "none"
    lines["engines"] = ", ".join(map(_describe_engine, engines.ENGINES))
    return lines


def _describe_engine(name: str) -> str:
    package = name if engines.ENGINES[name].packages else "tensorflow"
    if absent := engines.missing(name):
        return f"{name} (not installed: {', '.join(absent)})"
    return f"{name} ({_version(package) or 'not installed'})"


def describe_formats() -> dict[str, str]:
    """Returns the formats of photographs, and the programs that are of use."""
    read, absent = list(images.FORMATS), []
    for form, optional in photo_files.OPTIONAL_FORMATS.items():
        if needed := photo_files.missing_package(form):
            absent.append(f"{form} needs {needed}")
        else:
            read.append(f"{form} ({optional.package} {_version(optional.package)})")
    lines = {"formats": ", ".join(read)}
    if absent:
        lines["not read"] = f"{', '.join(absent)}: {photo_files.INSTALL}"
    lines["exiftool"] = _describe_exiftool()
    page = _version("gradio")
    lines["page"] = f"gradio {page}" if page else "not installed: pip install 'msmm[app]'"
    return lines


def _describe_exiftool() -> str:
    path = shutil.which("exiftool")
    if not path:
        return "not installed; only needed to carry keywords from sidecars into photographs"
    try:
        done = subprocess.run([path, "-ver"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path} does not work: {' '.join(str(error).split())}"
    return done.stdout.strip()


def check_model(directory: str | None, import_tensorflow: Callable[[], None]) -> dict[str, str]:
    """Loads a model, or the starter model of the package, and annotates a drawn image, read from a file.

    Raises:
      UserError: that does not work.
    """
    with tempfile.TemporaryDirectory(prefix="msmm-doctor-") as scratch:
        try:
            given = directory or str(starter.find_starter_model())
            started = time.perf_counter()
            model = engines.load(given, before_tensorflow=import_tensorflow)
            seconds = time.perf_counter() - started
            labels = _annotate_drawing(model, pathlib.Path(scratch, "drawing.jpg"))
        except UserError:
            raise
        except Exception as error:  # of many types, from many libraries
            text = " ".join(str(error).split())
            raise UserError(f"{directory or 'the starter model'}: {type(error).__name__}: {text}") from error
    size = f"{len(model.labels):,} labels, {len(model.tags):,} tags, {model.image_size} pixels"
    engine = "keras" if model.network is not None else engines.choose_engine()[0]
    return {
        "model": f"{directory or 'the starter model'}: {size}; {engine} loads it in {seconds:.1f} s",
        "drawn image": ", ".join(map(escape_unprintable, labels)) or "no label is sure enough",
    }


def _annotate_drawing(model: Model, path: pathlib.Path) -> tuple[str, ...]:
    from msmm.scenes import recipe

    path.write_bytes(images.encode(recipe.draw(_SEED, _INDEX, _SCENE).image, images.QUALITY))
    photo = reading.prepare_photo(str(path), reading.Preparation(model.image_size))
    if isinstance(photo, reading.Skipped):
        raise UserError(f"a drawn JPEG cannot be read: {photo.cause}")
    return model.annotate([photo.pixels])[0].labels


def check_folder(folder: str) -> dict[str, str]:
    """Counts the photographs of a folder and what is skipped, and decodes some of them.

    Raises:
      UserError: there is no photograph that can be read.
    """
    finder = finding.Finder([folder])
    skipped: dict[str, list[str]] = collections.defaultdict(list)
    paths, forms = [], collections.Counter[str]()
    for path, cause in finder:
        if cause:
            skipped[cause].append(path)
        else:
            paths.append(path)
            forms[_identify(path)] += 1
    chosen = [paths[i * len(paths) // min(DECODED, len(paths))] for i in range(min(DECODED, len(paths)))]
    undecoded = 0
    for path in chosen:
        if isinstance(outcome := images.convert_or_explain(pathlib.Path(path)), str):
            skipped[outcome].append(path)
            undecoded += 1
    counts = ", ".join(f"{count:,} {form}" for form, count in forms.most_common())
    lines = {
        "folder": f"{escape_unprintable(folder)}: {_count(len(paths))}{f' ({counts})' if counts else ''}"
    }
    if chosen:
        lines["decoded"] = f"{len(chosen) - undecoded:,} of {len(chosen):,} that were tried"
    lines |= {f"skipped {n}": line for n, line in enumerate(_describe_skipped(skipped), 1)}
    if left_out := finder.describe_left_out():
        lines["left out"] = left_out.removeprefix("left out: ")
    if undecoded == len(chosen):
        causes = "; ".join(filter(None, (*_describe_skipped(skipped), left_out)))
        raise UserError(
            f"no photograph in {escape_unprintable(folder)} can be read{f' ({causes})' if causes else ''}"
        )
    return lines


def _describe_skipped(skipped: dict[str, list[str]]) -> Iterator[str]:
    most = sorted(skipped.items(), key=lambda item: -len(item[1]))
    for cause, paths in most[:_SHOWN]:
        yield f"{len(paths):,}, such as {escape_unprintable(paths[0])}: {cause}"
    if len(most) > _SHOWN:
        yield f"{sum(len(paths) for _, paths in most[_SHOWN:]):,} for other causes"


def _identify(path: str) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return photo_files.identify(path, file.read(photo_files.HEAD_BYTES)) or "of other formats"
    return "unreadable"


def _count(number: int) -> str:
    return f"{number:,} photograph{'s' * (number != 1)}"


def _version(package: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return ""
