"""Measures what words of folders, names and captions do to the starter model on held-out photographs.

    python -m experiments.starter_words --workdir=runs/starter/model
    python -m experiments.starter_words --workdir=runs/starter/model --least=2

Needs the run of `experiments.starter_model`. Each held-out photograph gets no word, some of its own caption,
some of another photograph's, or a usual name of a folder. The table has the figures of the default counting.
With --least words are read only where there are as many.
"""

import pathlib

from absl import flags

from experiments.starter.settings import SETTINGS
from msmm import configs, run_flags
from msmm.core import command_line

_MODEL = flags.DEFINE_string("model", None, "The starter model, for its counting rules. [the package's]")
_LEAST = flags.DEFINE_integer("least", 1, "Number of known words from which they are read.", lower_bound=1)
run_flags.define_run_flags("starter")


def main() -> None:
    from msmm.core.files import read_json
    from msmm.inference import model_dir, starter

    directory = pathlib.Path(_MODEL.value or starter.find_starter_model())
    command_line.import_tensorflow()
    from experiments.benchmarks.measuring import markdown_table
    from experiments.starter import packaging, words
    from msmm.data import records
    from msmm.quantities.fitting import FittedCountingRules
    from msmm.training.run import Run

    config = configs.replace_flat(configs.get_config("coco_photos_frozen"), SETTINGS)
    dataset = records.open_dataset(pathlib.Path(flags.FLAGS.data_dir), flags.FLAGS.dataset)
    run = Run(flags.FLAGS.workdir or "runs/starter/model", dataset, config, flags.FLAGS.seed)
    fitted = {
        has_words: FittedCountingRules.from_json(read_json(directory / name), len(dataset.labels))
        for has_words, name in zip((True, False), model_dir.QUANTITIES, strict=True)
    }
    model, truth = words.HeldOutModel(run, fitted), run.split("train").labels[run.held_out_rows]
    rows = []
    for name, chosen_words in words.choose_words(run).items():
        figures = words.measure(*model.annotate(chosen_words, _LEAST.value), truth, packaging.is_object(run))
        known = f"{chosen_words.sum(axis=1).mean():.1f}"
        rows.append([name, known, *(f"{value:.1f}" for value in figures)])
    title = f"words of {len(truth):,} held-out photographs"
    print(markdown_table([title, "known words", *words.COLUMNS], rows))
    usual = words.usual_vectors(dataset.tags)
    known = [name for name, vector in usual.items() if vector.any()]
    print(f"\n{len(known)} of {len(usual)} usual names have a known word: {', '.join(known)}")


if __name__ == "__main__":
    command_line.run(main)
