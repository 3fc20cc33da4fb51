"""Does it help to read unknown tags as the nearest known ones (annotate --nearest_tags)? Beyond the paper.

    python -m experiments.nearest_tags                         the finished model on scenes
    python -m experiments.nearest_tags --seeds=3 --dataset=my_photos

Half of the tags that a model knows are hidden from it, at random, three times. A hidden tag of an image is
left out, or read as the nearest of the others if the cosine of their word vectors is at least a threshold;
"random" gives a random tag wherever "nearest" gives one. H-F1 (%), counted as annotate counts, on held-out
training images, which should choose the threshold, and on test images; means over draws and seeds.
"""

from msmm import run_flags
from msmm.core import command_line

run_flags.define_experiment_flags()

DRAWS = 3
COLUMNS = ("hidden tags", "read (%)", "held-out", "gain", "test", "gain, ± over draws and seeds")


def main() -> None:
    from msmm.photos import word_vectors

    word_vectors.require()
    runs = run_flags.open_runs()
    import numpy as np

    from experiments.benchmarks import measuring
    from experiments.sections import hidden_tags

    found = [hidden_tags.measured(run, draw) for run in runs for draw in range(DRAWS)]
    rows = []
    for case in found[0]:
        read, *f1 = np.mean([of[case] for of in found], axis=0)
        gains = np.subtract([of[case][1:] for of in found], [of["left out"][1:] for of in found])
        (_, spread), gain = gains.std(axis=0, ddof=1), gains.mean(axis=0)
        cells = (f"{read:.1f}", f"{f1[0]:.2f}", f"{gain[0]:+.2f}", f"{f1[1]:.2f}", f"{gain[1]:+.2f}")
        rows.append([case, *cells[:4], f"{cells[4]} ± {spread:.2f}"])
    print(measuring.markdown_table(COLUMNS, rows))


if __name__ == "__main__":
    command_line.run(main)
