"""Measures `msmm.annotate` end to end: folders of photographs, the network alone, the first keyword.

    python -m experiments.benchmark_annotate
    taskset -c 0,1 python -m experiments.benchmark_annotate          two cores
    python -m experiments.benchmark_annotate --photos=Pictures       scaled photographs in place of drawings

Writes a folder of 640 x 480 JPEG files and one of 12-megapixel JPEG files. Runs the command on each several
times in turn, and prints the medians. Wall-clock figures mean something on an otherwise idle machine only.
"""

import pathlib
import statistics
import tempfile

from absl import flags

from msmm.core import command_line
from msmm.core.errors import UserError

_MODEL = flags.DEFINE_string("model", None, "Model directory. [the starter model]")
_PHOTOS = flags.DEFINE_string("photos", None, "Folder of JPEG photographs to scale. [drawings]")
_SMALL = flags.DEFINE_integer("small", 1000, "Number of photographs of 640 x 480 pixels.", lower_bound=1)
_LARGE = flags.DEFINE_integer("large", 200, "Number of photographs of 12 megapixels.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "Rounds in which all take turns.", lower_bound=1)


def main() -> None:
    from experiments.benchmarks import annotating, measuring
    from msmm.inference import starter

    directory = pathlib.Path(_MODEL.value) if _MODEL.value else starter.find_starter_model()
    sources = sorted(pathlib.Path(_PHOTOS.value).rglob("*.jpg")) if _PHOTOS.value else []
    if _PHOTOS.value and not sources:
        raise UserError(f"expected JPEG photographs in --photos. Received: none in {_PHOTOS.value}")
    sizes = {
        "640 x 480": (_SMALL.value, annotating.SMALL),
        "12 megapixels": (_LARGE.value, annotating.LARGE),
    }
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: pathlib.Path(scratch, name) for name in sizes}
        for name, (number, size) in sizes.items():
            annotating.write_folder(folders[name], number, size, sources)
        network, first = [], {name: [] for name in sizes}
        whole = {name: [] for name in sizes}
        for _ in range(_REPEATS.value):
            network.append(annotating.measure_network(directory))
            for name, folder in folders.items():
                seconds = annotating.measure_annotate(folder, directory)
                first[name].append(seconds[0])
                whole[name].append(sizes[name][0] / seconds[1])
        alone = statistics.median(network)
        rows = [["the network alone", f"{alone:.1f}", "1.00", "", ""]]
        for name, folder in folders.items():
            size = statistics.mean(path.stat().st_size for path in folder.iterdir())
            rate = statistics.median(whole[name])
            cells = [f"{rate:.1f}", f"{rate / alone:.2f}", f"{statistics.median(first[name]):.2f}"]
            rows.append([f"{sizes[name][0]:,} JPEG files of {name}", *cells, f"{size / 1000:,.0f}"])
    print(measuring.describe_machine("openvino", "pillow"))
    columns = ["", "photographs/s", "of the network's rate", "s to the first keyword", "kB per file"]
    print(f"\n{measuring.markdown_table(columns, rows)}")


if __name__ == "__main__":
    command_line.run(main)
