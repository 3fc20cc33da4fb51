"""The page of `msmm.app`: one photograph and its tags in, what the model says of them out."""

import contextlib
import html
import pathlib
import re
from collections.abc import Collection, Sequence

import gradio as gr
import numpy as np
from gradio import processing_utils, utils
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from msmm.core import images
from msmm.inference.model_dir import Model
from msmm.photos import keywords, reading
from msmm.scoring.predictions import Predictions, choose_labels

TOP_K = 3  # labels that a method without quantity prediction says (decision 24)
MOST_TEXT = 10_000  # characters of tags
WAITING = 20  # requests; the next one is told to come back
SESSIONS = 100  # of which Gradio keeps a copy of the page's state, some 40 KiB each; there is nothing in it
FREQUENCY, AGE = 600, 3600  # seconds; how often which uploads are deleted
REASONS = {
    "too many pixels": f"too many pixels: at most {images.MAX_PIXELS // 10**6} million, and no side over "
    f"{images.MAX_SIDE:,}",
    "too many scans": "a JPEG of too many scans: save it again as a plain JPEG",
    "not an image of a known format": f"not a photograph: expected one of {', '.join(images.FORMATS)}",
    "does not decode": "the file is damaged: it does not decode",
}
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none from the web
CSS = """
.said p { margin: 0 0 .6em } .said .labels b { margin-right: .7em; font-size: 1.25em }
.said .row { display: flex; gap: .6em; align-items: center; opacity: .6 } .said .row.chosen { opacity: 1 }
.said .name { width: 9em; overflow-wrap: anywhere } .said .value { width: 3.5em; text-align: right }
.said .track { flex: 1; background: var(--border-color-primary); height: .8em }
.said .bar { display: block; height: 100%; background: #8a8f98 } .said .chosen .bar { background: #2563eb }
"""


def build(model: Model, examples: Sequence[tuple[str, str]]) -> gr.Blocks:
    """The page, and the endpoint "/annotate" of its API: a photograph and tags to what `annotate` returns.

    examples: paths of images, and the tags of each.
    """
    processing_utils.async_ssrf_protected_download = _download

    def say(photo, tags):
        return annotate(model, _uploaded(photo), tags)

    def show(photo, tags):
        return as_html(say(photo, tags))

    # Raw values, or Gradio opens the photograph itself. All wait in one line for the one model.
    once = {"preprocess": False, "concurrency_limit": 1, "concurrency_id": "model"}
    unseen = {"api_visibility": "private", **once}
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
                said = gr.HTML(elem_classes="said", js_on_load=None)
        if examples:
            rows = [list(example) for example in examples]
            shown = gr.Examples(rows, [photo, tags], visible_columns=[0], api_visibility="private")
            shown.load_input_event.then(show, [photo, tags], said, **unseen)
        gr.on([button.click, tags.submit], show, [photo, tags], said, **unseen)
        answer = gr.Button(visible=False)
        answer.click(say, [photo, tags], gr.JSON(visible=False), api_name="annotate", **once)
    page.queue(max_size=WAITING, api_open=False, default_concurrency_limit=1)
    # Gradio forgets old answers that nobody fetched, but never whose they were; both together now.
    with contextlib.suppress(AttributeError):  # of its own queue, which may change
        queue = page._queue
        queue.pending_event_ids_session = utils.LRUCache(queue.pending_messages_per_session.max_size)
    return page


def annotate(model: Model, path: str, text: str | None) -> dict:
    """What a model says of an image file and of tags separated by commas, semicolons or lines.

    "labels": the chosen ones, surest first. "rule": what said how many, as in `Model.annotate`.
    "quantity": what the regressor said, before rounding. "top_3": what a fixed number would have said.
    "probabilities": of every label, falling. "unknown_tags": those that the model does not know.

    Raises gr.Error saying what is wrong.
    """
    text = str(text or "")
    if len(text) > MOST_TEXT:
        raise _refused(f"expected at most {MOST_TEXT:,} characters of tags. Received: {len(text):,}")
    known, unknown, _ = keywords.Tags(model.tags).split(re.findall(r"[^\s,;][^,;\n]*", text))
    photo = reading.prepare(path, model.image_size, thumbnail=False, to_sidecar=False, overwrite=False)
    if isinstance(photo, reading.Passed):
        raise _refused(REASONS.get(photo.cause, photo.cause))
    said = model.annotate([photo.pixels], [known])[0]
    best = np.argsort(-said.probabilities, kind="stable")
    top = choose_labels(Predictions(said.probabilities[None]), min(TOP_K, len(model.labels)))[0]
    return {
        "labels": list(said.labels),
        "rule": _rule(model, known),
        "quantity": said.quantity,
        "top_3": [model.labels[i] for i in best if top[i]],
        "probabilities": {model.labels[i]: float(said.probabilities[i]) for i in best},
        "unknown_tags": [word.strip() for word in unknown],
    }


def _rule(model: Model, known: Collection[str]) -> str:
    fitted = model.quantities if known else model.quantities_without_tags or model.quantities
    return fitted.best if fitted else "regression"


def as_html(said: dict) -> str:
    """What `annotate` returned, to be read by people."""
    chosen = set(said["labels"])
    rows = [
        f'<div class="row{" chosen" if label in chosen else ""}">'
        f'<span class="name">{html.escape(label)}</span>'
        f'<span class="track"><span class="bar" style="width:{p:.1%}"></span></span>'
        f'<span class="value">{p:.1%}</span></div>'
        for label, p in said["probabilities"].items()
    ]
    unknown = f"Not among the model's tags, left out: {html.escape(', '.join(said['unknown_tags']))}"
    return (
        f'<p class="labels">{"".join(f"<b>{html.escape(label)}</b>" for label in said["labels"])}</p>'
        f'<p class="quantity">Predicted quantity: {said["quantity"]:.3f}. '
        f"Kept: {len(chosen)}, by {html.escape(said['rule'])}.</p>"
        f'<p class="top">A fixed top {TOP_K} would have said: {html.escape(", ".join(said["top_3"]))}.</p>'
        + (f'<p class="unknown">{unknown}</p>' if said["unknown_tags"] else "")
        + "".join(rows)
    )


def _uploaded(photo: dict | None) -> str:
    """The path of what was uploaded; Gradio lets some requests name other files of this machine."""
    if not photo or not photo["path"]:
        raise _refused("drop a photograph first")
    path = pathlib.Path(photo["path"]).resolve()
    if not path.is_relative_to(pathlib.Path(utils.get_upload_folder()).resolve()):
        raise _refused("expected the photograph itself. Received: a path")
    return str(path)


async def _download(*_, **__):
    """Instead of Gradio's own, which fetches whatever address a request names, however much is there."""
    raise _refused("expected the photograph itself. Received: an address")


def _refused(message: str) -> gr.Error:
    return gr.Error(message, print_exception=False)


def launch(page: gr.Blocks, host: str, port: int, max_upload_mb: int) -> None:
    """Serves the page until `page.block_thread` ends. Raises OSError where the port is taken."""
    most = max_upload_mb * 2**20
    page.launch(
        server_name=host,
        server_port=port,
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
    """Refuses requests of more than `most` bytes, and those that do not say how long they are."""

    def __init__(self, app, most: int):
        self._app, self._most = app, most

    async def __call__(self, scope, receive, send):
        headers = dict(scope.get("headers", ()))
        app = self._app
        if int(headers.get(b"content-length", 0)) > self._most:
            app = PlainTextResponse(f"expected at most {self._most:,} bytes", status_code=413)
        elif b"transfer-encoding" in headers:
            app = PlainTextResponse("expected a request that says its length", status_code=411)
        await app(scope, receive, send)
