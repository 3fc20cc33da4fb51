"""Serves a page on which a finished model annotates photographs, or on which a person reviews a folder.

    python -m msmm.app                                     with the starter model of the package
    python -m msmm.app --photos=Pictures                   review a folder with the starter model
    python -m msmm.app --photos=Pictures --model=runs/my_library/seed0/model
    python -m msmm.app --model=runs/scenes/seed0/model
    python -m msmm.app --model=runs/my_photos/seed0/model --examples=photos/new --port=8080

Drop a photograph and type its tags. The page shows the chosen labels, the probability of each, the predicted
quantity, and the labels of a fixed top 3. The page needs no internet connection. It asks for no password:
--host=0.0.0.0 shows it to everyone who reaches this machine.

With --photos the page shows one folder to the person at this machine, a photograph or the photographs of a
keyword at a time: accept the proposed keywords, strike or add some. Decisions go into XMP sidecars beside the
photographs, which are not touched. They also go into msmm_review.jsonl in the folder, which
tfrecords_tools.pack --dataset=library reads as labels. Started again, the page goes on where it was.

Behind a proxy that shows it under a path, name that path, and let the proxy take it off:

    python -m msmm.app --model=MODEL --root_path=/photos
    location /photos/ { proxy_pass http://127.0.0.1:7860/; proxy_buffering off; client_max_body_size 33m; }
"""

import contextlib
import os
import pathlib
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError
from msmm.inference import starter

_MODEL = flags.DEFINE_string("model", None, "Model directory. [the starter model of the package]")
_EXAMPLES = flags.DEFINE_string(
    "examples",
    None,
    "Folder with photographs to show, in it or below. [drawn scenes; none with the starter model]",
)
_PHOTOS = flags.DEFINE_string("photos", None, "Folder of photographs to review.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
_PORT = flags.DEFINE_integer("port", 7860, "Port to listen on.", lower_bound=1, upper_bound=65535)
_ROOT_PATH = flags.DEFINE_string(
    "root_path", "", "Path, as /photos, or address under which a proxy shows the page."
)
_MAX_UPLOAD_MB = flags.DEFINE_integer("max_upload_mb", 32, "Largest photograph taken, MiB.", lower_bound=1)

NUM_EXAMPLES = 6
EXAMPLE_SIZE = 256  # pixels, of a drawn one


def main() -> None:
    if _PHOTOS.value is not None:
        _review(_PHOTOS.value)
    else:
        _serve_page()


def _review(folder: str) -> None:
    """Serves the review of a folder until it is interrupted."""
    given = [name for name in ("examples", "host", "root_path", "max_upload_mb") if flags.FLAGS[name].present]
    if given:
        raise UserError(f"--photos serves one person on this machine: leave --{given[0]} out")
    if not os.path.isdir(folder):
        raise UserError(f"expected a folder of photographs in --photos. Received: {folder}")
    from msmm.inference import engines
    from msmm.photos.review import server, session

    directory = _MODEL.value or starter.find_starter_model()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with _end_at_interrupt():
        model = engines.load(directory, before_tensorflow=command_line.import_tensorflow)
        review = session.Session(folder, model)
        try:
            try:
                served = server.ReviewServer(review, _PORT.value)
            except OSError as error:
                raise UserError(f"cannot listen on 127.0.0.1:{_PORT.value}: choose another --port") from error
            review.start()
            if review.left_out:
                print(review.left_out, file=sys.stderr)
            print(f"{served.address} (Ctrl+C ends it)", flush=True)
            with served:
                served.serve_forever()
        finally:
            review.close()


def _serve_page() -> None:
    folder = pathlib.Path(_EXAMPLES.value) if _EXAMPLES.value else None
    if folder and not folder.is_dir():
        raise UserError(f"expected a folder of photographs in --examples. Received: {folder}")
    root_path = _check_root_path()
    directory = _MODEL.value or starter.find_starter_model()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that temporary files are deleted then, too
    with tempfile.TemporaryDirectory(prefix="msmm-app-") as scratch, _end_at_interrupt():
        # Gradio reads these as it is imported. Uploads go with the page.
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=f"{scratch}/uploads")
        # Else it analyses the last 10,000 requests after each one, for a dashboard that is not served.
        os.environ.update(GRADIO_ANALYTICS_MAX_EVENTS="1", GRADIO_ANALYTICS_CACHE_FREQUENCY=f"{10**9}")
        try:
            import gradio  # noqa: F401
        except ImportError:
            raise UserError("the page needs gradio: pip install 'msmm[app]'") from None
        from msmm.inference import engines
        from msmm.photos import page

        model = engines.load(directory, before_tensorflow=command_line.import_tensorflow)
        if folder:
            examples = _load_photographs(folder, scratch)
        else:
            examples = _draw_scenes(model, scratch) if _MODEL.value else []
        built = page.build(model, examples)
        try:
            page.launch(built, _HOST.value, _PORT.value, _MAX_UPLOAD_MB.value, root_path)
        except OSError as error:
            raise UserError(f"cannot listen on {_HOST.value}:{_PORT.value}: choose another --port") from error
        print(f"http://{_HOST.value}:{_PORT.value} (Ctrl+C ends it)", flush=True)
        try:
            threading.Event().wait()
        finally:
            built.close(verbose=False)


def _check_root_path() -> str:
    path = _ROOT_PATH.value.rstrip("/")
    if path and not path.startswith(("/", "http://", "https://")):
        raise UserError(f"expected --root_path to begin with /, or an address. Received: {path!r}")
    return path


@contextlib.contextmanager
def _end_at_interrupt() -> Iterator[None]:
    """Ends the page at Ctrl+C: unlike other commands, it has nothing to resume."""
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again it would leave uploads behind
        print("\nthe page has ended", file=sys.stderr)


def _load_photographs(folder: pathlib.Path, scratch: str) -> list[tuple[str, str]]:
    """Returns the first few photographs of a folder and those below it, upright, without tags."""
    from msmm.core import images
    from msmm.photos import finding

    examples: list[tuple[str, str]] = []
    for name, cause in finding.Finder([str(folder.absolute())]):
        path = pathlib.Path(name)
        jpeg = cause or images.convert_or_explain(path)
        if not isinstance(jpeg, str):
            examples.append((_write_example(scratch, len(examples), jpeg or path.read_bytes()), ""))
        if len(examples) == NUM_EXAMPLES:
            break
    if not examples:
        raise UserError(f"expected photographs in {folder}. Received: none that can be read")
    return examples


def _draw_scenes(model, scratch: str) -> list[tuple[str, str]]:
    """Draws a few test scenes, with the tags that the model knows."""
    from msmm.core import images
    from msmm.scenes import recipe
    from tfrecords_tools.datasets import scenes

    examples = []
    for i in range(NUM_EXAMPLES):
        scene = recipe.draw(0, scenes.FIRST_INDEX["test"] + i, EXAMPLE_SIZE)
        path = _write_example(scratch, i, images.encode(scene.image, scenes.QUALITY))
        examples.append((path, ", ".join(tag for tag in scene.tags if tag in model.tags)))
    return examples


def _write_example(scratch: str, index: int, jpeg: bytes) -> str:
    path = pathlib.Path(scratch, f"example{index}.jpg")
    path.write_bytes(jpeg)
    return str(path)


if __name__ == "__main__":
    command_line.run(main)
