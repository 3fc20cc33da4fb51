"""The page of `msmm.app`: one photograph and its tags in, the model's annotation out."""

import contextlib
import html
import pathlib
import re
from collections.abc import Collection, Sequence
from typing import Any

import gradio as gr
import numpy as np
from gradio import processing_utils, utils
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from msmm.core import images, photo_files
from msmm.inference.model_dir import Model
from msmm.photos import keywords, reading
from msmm.scoring.predictions import Predictions, choose_labels

TOP_K = 3  # labels that a method without quantity prediction keeps (decision 24)
MOST_TEXT = 10_000  # characters of tags
WAITING = 20  # requests; the next one is refused
SESSIONS = 100  # of which Gradio keeps a copy of the page's state, some 40 KiB each, though it is empty
FREQUENCY, AGE = 600, 3600  # seconds; how often which uploads are deleted
REASONS = {
    "too many pixels": f"too many pixels: at most {images.MAX_PIXELS['JPEG'] // 10**6} million in a JPEG, "
    f"{images.MAX_OTHER_PIXELS // 10**6} million else, and no side over {images.MAX_SIDE:,}",
    "too many scans": "a JPEG of too many scans: save it again as a plain JPEG",
    "too many layers": "an image of too many others: export it as JPEG",
    "not an image of a known format": "not a photograph: expected one of "
    f"{', '.join((*images.FORMATS, *photo_files.OPTIONAL_FORMATS))}",
    "does not decode": "the file is damaged: it does not decode",
}
FONTS: dict[str, Any] = {
    "font": ["system-ui", "sans-serif"],
    "font_mono": ["ui-monospace", "monospace"],
}  # none from the web
CSS = """
.result p { margin: 0 0 .6em } .result .labels b { margin-right: .7em; font-size: 1.25em }
.result .row { display: flex; gap: .6em; align-items: center; opacity: .6 } .result .row.chosen { opacity: 1 }
.result .name { width: 9em; overflow-wrap: anywhere } .result .value { width: 3.5em; text-align: right }
.result .track { flex: 1; background: var(--border-color-primary); height: .8em }
.result .bar { display: block; height: 100%; background: #8a8f98 }
.result .chosen .bar { background: #2563eb }
"""


def build(model: Model, examples: Sequence[tuple[str, str]]) -> gr.Blocks:
    """Builds the page, and the endpoint "/annotate" of its API, which returns what `annotate_upload` does.

    examples: paths of images, and the tags of each.
    """
    processing_utils.async_ssrf_protected_download = _download

    def answer(photo, tags):
        return annotate_upload(model, _check_upload(photo), tags)

    def show(photo, tags):
        return format_html(answer(photo, tags))

    # Raw values, or Gradio opens the photograph itself. All requests queue for the one model.
    once: dict[str, Any] = {"preprocess": False, "concurrency_limit": 1, "concurrency_id": "model"}
    unseen: dict[str, Any] = {"api_visibility": "private", **once}
    name = html.escape(str(model.info.get("dataset", "")))
    with gr.Blocks(title=f"msmm: {name}", analytics_enabled=False, delete_cache=(FREQUENCY, AGE)) as page:
        gr.HTML(f"<h1>{name}</h1>{len(model.labels):,} labels, {len(model.tags):,} tags")
        with gr.Row():
            with gr.Column():
                photo = gr.Image(
                    label="Photograph", type="filepath", sources=["upload", "clipboard"], height=360
                )
                tags = gr.Textbox(label="Tags", placeholder="separated by commas", max_length=MOST_TEXT)
                button = gr.Button("Annotate", variant="primary")
            with gr.Column():
                result = gr.HTML(elem_classes="result", js_on_load=None)
        if examples:
            rows = [list(example) for example in examples]
            shown = gr.Examples(rows, [photo, tags], visible_columns=[0], api_visibility="private")
            shown.load_input_event.then(show, [photo, tags], result, **unseen)
        gr.on([button.click, tags.submit], show, [photo, tags], result, **unseen)
        endpoint = gr.Button(visible=False)
        endpoint.click(answer, [photo, tags], gr.JSON(visible=False), api_name="annotate", **once)
    page.queue(max_size=WAITING, api_open=False, default_concurrency_limit=1)
    # Gradio forgets old answers that nobody fetched, but never their sessions; here it forgets both.
    with contextlib.suppress(AttributeError):  # of its own queue, which may change
        queue = page._queue
        queue.pending_event_ids_session = utils.LRUCache(queue.pending_messages_per_session.max_size)
    return page


def annotate_upload(model: Model, path: str, text: str | None) -> dict:
    """Annotates an image file, given tags separated by commas, semicolons or lines.

    Returns:
      "labels": the chosen ones, surest first. "rule": the counting rule, as in `Model.annotate`. "quantity":
      the regressor's, before rounding. "top_3": the labels of a fixed number. "probabilities": of every
      label, falling. "unknown_tags": those that the model does not know.

    Raises:
      gr.Error: with what is wrong.
    """
    text = str(text or "")
    if len(text) > MOST_TEXT:
        raise _make_error(f"expected at most {MOST_TEXT:,} characters of tags. Received: {len(text):,}")
    known, unknown = keywords.Tags(model.tags).split(re.findall(r"[^\s,;][^,;\n]*", text))
    photo = reading.prepare_photo(path, reading.Preparation(model.image_size))
    if isinstance(photo, reading.Skipped):
        raise _make_error(REASONS.get(photo.cause, photo.cause))
    annotation = model.annotate([photo.pixels], [known])[0]
    best = np.argsort(-annotation.probabilities, kind="stable")
    top = choose_labels(Predictions(annotation.probabilities[None]), min(TOP_K, len(model.labels)))[0]
    return {
        "labels": list(annotation.labels),
        "rule": _name_rule(model, known),
        "quantity": annotation.quantity,
        "top_3": [model.labels[i] for i in best if top[i]],
        "probabilities": {model.labels[i]: float(annotation.probabilities[i]) for i in best},
        "unknown_tags": [word.strip() for word in unknown],
    }


def _name_rule(model: Model, known: Collection[str]) -> str:
    fitted = model.quantities if known else model.quantities_without_tags or model.quantities
    return fitted.best if fitted else "regression"


def format_html(annotation: dict) -> str:
    """Formats what `annotate_upload` returned for people."""
    chosen = set(annotation["labels"])
    rows = [
        f'<div class="row{" chosen" if label in chosen else ""}">'
        f'<span class="name">{html.escape(label)}</span>'
        f'<span class="track"><span class="bar" style="width:{p:.1%}"></span></span>'
        f'<span class="value">{p:.1%}</span></div>'
        for label, p in annotation["probabilities"].items()
    ]
    unknown = f"Not among the model's tags, left out: {html.escape(', '.join(annotation['unknown_tags']))}"
    return (
        f'<p class="labels">{"".join(f"<b>{html.escape(label)}</b>" for label in annotation["labels"])}</p>'
        f'<p class="quantity">Predicted quantity: {annotation["quantity"]:.3f}. '
        f"Kept: {len(chosen)}, by {html.escape(annotation['rule'])}.</p>"
        f'<p class="top">A fixed top {TOP_K} would be: {html.escape(", ".join(annotation["top_3"]))}.</p>'
        + (f'<p class="unknown">{unknown}</p>' if annotation["unknown_tags"] else "")
        + "".join(rows)
    )


def _check_upload(photo: dict | None) -> str:
    """Returns the path of an upload; Gradio lets some requests name other files of this machine."""
    if not photo or not photo["path"]:
        raise _make_error("drop a photograph first")
    path = pathlib.Path(photo["path"]).resolve()
    if not path.is_relative_to(pathlib.Path(utils.get_upload_folder()).resolve()):
        raise _make_error("expected the photograph itself. Received: a path")
    return str(path)


async def _download(*_, **__):
    """Replaces Gradio's own, which fetches whatever address a request names, however large it is."""
    raise _make_error("expected the photograph itself. Received: an address")


def _make_error(message: str) -> gr.Error:
    return gr.Error(message, print_exception=False)


def launch(page: gr.Blocks, host: str, port: int, max_upload_mb: int, root_path: str = "") -> None:
    """Serves the page until it is closed.

    Args:
      page: as `build` returns it.
      host: address to listen on.
      port: port to listen on.
      max_upload_mb: the largest photograph, MiB.
      root_path: the path, or the whole address, under which a proxy shows the page, such as "/photos".

    Raises:
      OSError: the port is taken.
    """
    most = max_upload_mb * 2**20
    page.launch(
        server_name=host,
        server_port=port,
        root_path=root_path,
        max_file_size=most,
        app_kwargs={"middleware": [Middleware(BodyLimit, most + 2**20)]},  # a form is larger than its file
        theme=gr.themes.Base(**FONTS),
        css=CSS,
        footer_links=["api"],
        share=False,
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        state_session_capacity=SESSIONS,
        prevent_thread_lock=True,
        quiet=True,
    )


class BodyLimit:
    """Refuses requests of more than `most` bytes, whether they name their length or come in chunks."""

    def __init__(self, app, most: int):
        self._app, self._most = app, most

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse(f"expected at most {self._most:,} bytes", status_code=413)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if int(length) > self._most:
            await refusal(scope, receive, send)
            return
        received, answered = 0, False

        async def count():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # Then the page stops reading, and deletes what it has of the file.
            return {"type": "http.disconnect"} if received > self._most else message

        async def forward(message):
            nonlocal answered
            if received <= self._most or answered:
                answered = True
                await send(message)

        try:
            await self._app(scope, count, forward)
        except Exception:
            if received <= self._most:
                raise
        if received > self._most and not answered:
            await refusal(scope, receive, send)
