"""Table I: what each component of the model adds, on any packed data set.

    python -m experiments.reproduce_table1                          the drawn data set, one seed: minutes
    python -m experiments.reproduce_table1 --seeds=3
    python -m experiments.reproduce_table1 --dataset=nus_wide --weights=resnet101.h5

Packs `scenes` if it is not there, trains every stage that has not finished, measures the six rows on the test
split, and writes a report (HTML, Markdown, CSV). Interrupted, the same command goes on.
"""

import dataclasses
import importlib.metadata
import pathlib
import platform
import shlex
import sys

from absl import flags

from msmm import command_line
from msmm.configs import base

_SEEDS = flags.DEFINE_integer("seeds", 1, "How many runs, with seeds --seed, --seed+1, …", lower_bound=1)
command_line.define_run_flags()
command_line.define_dataclass_flags(base.Config)

_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "pillow")


def main() -> None:
    runs = [command_line.open_run(seed) for seed in _seeds()]
    from experiments import report
    from msmm import features, variants
    from msmm.stages import STAGES, train

    rows = variants.VARIANTS | variants.TAGS_ONLY
    chosen, figures, notes, models = [], [], [], []
    for run in runs:
        print(f"seed {run.seed}", flush=True)
        for stage in STAGES:
            train(run, stage)
        measured = {name: variants.measure(run, variant) for name, variant in rows.items()}
        chosen.append({name: labels for name, (labels, _) in measured.items()})
        figures.append({name: values for name, (_, values) in measured.items()})
        notes += _fallbacks(run)
        models.append(variants.save_model(run))
        if run.config.finetune_trunk:  # another seed has another trunk
            features.discard_maps(run)

    page = _report(run, rows, chosen, figures, notes)
    paths = report.write(page, run.workdir / "table1", "table1")
    short = dataclasses.replace(page, settings=(), versions={}, command="")  # they are in the report
    print(f"\n{report.as_text(short)}\n")
    print(f"report:      {paths[0]} (and {', '.join(path.name for path in paths[1:])})")
    print(f"tensorboard: tensorboard --logdir={run.workdir}")
    print(f"model:       {models[0]}")


def _seeds() -> range:
    return range(command_line.FLAGS.seed, command_line.FLAGS.seed + _SEEDS.value)


def _fallbacks(run) -> list[str]:
    from msmm.stages import STAGES

    records = {stage: run.stage_record(stage) for stage in STAGES}
    return [f"Seed {run.seed}, stage {s}: {f}." for s, record in records.items() for f in record["fallbacks"]]


def _report(run, rows, chosen, figures, notes):
    from experiments import published
    from experiments.report import LENGTHS, QUANTITY, Report, Row, Table, judge
    from msmm import configs, variants

    def table(heading, names, **how):
        found = [
            Row(n, [seed[n] for seed in figures], rows[n].tags, rows[n].quantity, rows[n].counter == "truth")
            for n in names
        ]
        return Table(heading, found, **how)

    counts = {split: run.dataset.num_examples(split) for split in run.dataset.splits}
    backbone, many = pathlib.Path(run.config.backbone).stem, "s" * (len(figures) > 1)
    what = (
        f"Measured: {run.dataset.name} ({counts['train']:,} training and {counts['test']:,} test images, "
        f"{len(run.dataset.labels)} classes, {len(run.dataset.tags)} tags), "
        f"{backbone} at {run.config.image_size} px, {len(figures)} seed{many}"
    )
    counting = [name for name, variant in rows.items() if variant.counter in ("quantity", "visual_quantity")]
    truth = run.split("test").labels
    return Report(
        title=f"Table I on {run.dataset.name}",
        tables=[
            table(what, variants.VARIANTS),
            published.TABLES["I"],
            table("Measured: not in the paper's table", variants.TAGS_ONLY),
            table(
                "Measured: label quantities predicted (IV-D1)",
                counting,
                columns=(*QUANTITY, "variance of true"),
            ),
            table("Measured: labels an image", variants.VARIANTS, columns=LENGTHS),
        ],
        outcomes=[judge(claim, truth, chosen, published.TABLES["I"]) for claim in published.CLAIMS],
        settings=configs.describe(run.config),
        notes=notes,
        versions={"python": platform.python_version()}
        | {p: importlib.metadata.version(p) for p in _PACKAGES},
        command=shlex.join(["python", "-m", "experiments.reproduce_table1", *sys.argv[1:]]),
    )


if __name__ == "__main__":
    command_line.run(main)
