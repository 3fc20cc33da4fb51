"""Figure 6: test images with the ground truth and the labels of the complete model.

    python -m experiments.figure6                              the drawn data set, trained if it is not yet
    python -m experiments.figure6 --dataset=nus_wide --num_images=8

Green: in the ground truth; blue: not in it; grey: missed. The best and the worst images are chosen by their
F1, ties by their id. The typical images are closest to the median F1.
"""

from absl import flags

from msmm import run_flags
from msmm.core import command_line

_NUM_IMAGES = flags.DEFINE_integer("num_images", 5, "Images of each kind.", lower_bound=1)
run_flags.define_experiment_flags()


def main() -> None:
    runs = run_flags.open_runs()
    from experiments.sections.examples import make_figure6
    from experiments.sections.study import train_and_measure
    from msmm.core.files import write_bytes

    figure = make_figure6(train_and_measure(runs), _NUM_IMAGES.value)
    output = runs[0].workdir / figure.picture.file_name
    write_bytes(output, figure.picture.as_bytes())
    for note in figure.notes:
        print(note)
    print(f"wrote {output}")


if __name__ == "__main__":
    command_line.run(main)
