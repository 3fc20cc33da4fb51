"""Describes the model of a data set: shapes and parameters of its parts, and the stages that train them.

    python -m msmm.describe --dataset=nus_wide            the paper's model at a glance
    python -m msmm.describe --dataset=scenes --json

Classes and tags come from the packed data set, otherwise from the paper (81 or 80 classes,
1,000 tags). No weights are downloaded.
"""

import dataclasses
import json
import pathlib

from absl import flags

from msmm import run_flags
from msmm.configs.base import Config
from msmm.core import command_line
from msmm.training.stage_table import PAPER_PARTS, PAPER_STAGES, STAGES

_JSON = flags.DEFINE_boolean("json", False, "Print JSON instead of tables.")
_CLASSES = flags.DEFINE_integer("classes", None, "C, instead of the data set's.", lower_bound=1)
_TAGS = flags.DEFINE_integer("tags", None, "T, instead of the data set's.", lower_bound=1)
run_flags.define_run_flags()
run_flags.define_setting_flags()

_PAPER_SIZES = {"nus_wide": (81, 1000), "mscoco": (80, 1000)}  # IV-A1


def main() -> None:
    name, config = command_line.FLAGS.dataset, run_flags.read_config()
    classes, tags = _sizes(name)
    command_line.import_tensorflow()
    description = describe_model(name, config, _CLASSES.value or classes, _TAGS.value or tags)
    print(json.dumps(description, indent=1) if _JSON.value else as_text(description))


def _sizes(name: str) -> tuple[int, int]:
    from msmm.core.errors import UserError

    if (pathlib.Path(command_line.FLAGS.data_dir) / name).exists():
        dataset = run_flags.open_dataset()
        dataset.require_images()
        return len(dataset.labels), len(dataset.tags)
    if name in _PAPER_SIZES:
        return _PAPER_SIZES[name]
    if name == "scenes":
        from msmm.scenes import recipe

        return len(recipe.CONCEPTS), len(recipe.TAGS)
    if _CLASSES.value and _TAGS.value:
        return _CLASSES.value, _TAGS.value
    raise UserError(
        f"no data set {name!r} in {command_line.FLAGS.data_dir}: pack it, or give --classes and --tags"
    )


def describe_model(name: str, config: Config, num_classes: int, num_tags: int) -> dict:
    """Returns the model of a data set as plain data: its maps, its parts and its stages."""
    import keras

    from msmm.models import multi_scale
    from msmm.training import model_parts

    config = dataclasses.replace(config, weights="none")
    models = {part: model_parts.build_part(part, config, num_classes, num_tags) for part in PAPER_PARTS}
    described = {}
    for part, model in models.items():
        norms = [x for x in _layers(model) if isinstance(x, keras.layers.BatchNormalization)]
        described[part] = {
            "input": _shapes(model.inputs),
            "output": _shapes(model.outputs),
            "parameters": model.count_params(),
            "trainable": sum(int(keras.ops.size(v)) for v in model.trainable_variables),
            "BN layers": len(norms),
            "BN momentum": sorted({layer.momentum for layer in norms}),
        }
    fusion = multi_scale.build_multi_scale(model_parts.map_shapes(config))
    stages = {}
    for stage_name in PAPER_STAGES:
        stage = STAGES[stage_name]
        trained = [p for p in stage.parts if p != "backbone" or config.finetune.trunk]
        settings = getattr(config, stage.group)
        stages[stage_name] = {
            "needs": list(stage.needs),
            "trains": trained,
            "trainable parameters": sum(described[part]["trainable"] for part in trained),
            "loss": stage.loss,
            "optimiser": f"SGD, momentum {config.momentum:g}, L2 {config.weight_decay:g}",
            "learning rate": settings.learning_rate,
            "epochs at most": settings.epochs,
            "batch": config.batch_size,
        }
    return {
        "data set": name,
        "classes": num_classes,
        "tags": num_tags,
        "backbone": config.backbone,
        "image size": config.image_size,
        "maps": {f"M{i}": list(fusion.get_layer(f"M{i}").output.shape[1:]) for i in range(1, 6)},
        "parts": described,
        "stages": stages,
    }


def _layers(model):
    """Yields the layers of a model and of the models in it."""
    for layer in model.layers:
        yield from _layers(layer) if hasattr(layer, "layers") else [layer]


def _shapes(tensors) -> list[list[int]]:
    return [list(t.shape[1:]) for t in tensors]


def as_text(description: dict) -> str:
    """Formats the data of `describe_model` as tables for a terminal."""
    d = description
    lines = [
        f"{d['data set']}: {d['classes']} classes, {d['tags']} tags, {d['backbone']} at {d['image size']} px",
        "",
        "feature maps (eq. 1)   " + "   ".join(f"{m} {_by(shape)}" for m, shape in d["maps"].items()),
        "",
        f"{'part':<16}{'input':<22}{'output':<22}{'parameters':>12}{'trainable':>12}  BN layers, momentum",
    ]
    for part, p in d["parts"].items():
        shapes = (_maps(p[side]) if len(p[side]) > 1 else _by(p[side][0]) for side in ("input", "output"))
        norms = f"{p['BN layers']}, {', '.join(map(str, p['BN momentum']))}" if p["BN layers"] else ""
        columns = "".join(f"{shape:<22}" for shape in shapes)
        lines.append(f"{part:<16}{columns}{p['parameters']:>12,}{p['trainable']:>12,}  {norms}")
    lines += ["", f"{'stage':<16}{'trains':<28}{'parameters':>12}  {'loss':<6}{'rate':>8}  epochs  needs"]
    for stage, s in d["stages"].items():
        lines.append(
            f"{stage:<16}{' + '.join(s['trains']):<28}{s['trainable parameters']:>12,}  {s['loss']:<6}"
            f"{s['learning rate']:>8g}  {s['epochs at most']:>6}  {', '.join(s['needs'])}"
        )
    first = next(iter(d["stages"].values()))
    return "\n".join([*lines, "", f"every stage: {first['optimiser']}, batches of {first['batch']}"])


def _maps(shapes) -> str:
    return f"M{6 - len(shapes)} … M5"


def _by(shape) -> str:
    return "x".join(map(str, shape))


if __name__ == "__main__":
    command_line.run(main)
