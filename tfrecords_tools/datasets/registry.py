"""All raw data sets by the name that `--dataset` takes."""

from tfrecords_tools.datasets import arrays, library, manifest, mscoco, nus_wide, openclipart, scenes
from tfrecords_tools.packing.raw_dataset import RawDataset

DATASETS: dict[str, type[RawDataset]] = {
    "scenes": scenes.Scenes,
    "manifest": manifest.Manifest,
    "library": library.Library,
    "arrays": arrays.Arrays,
    "nus_wide": nus_wide.NusWide,
    "mscoco": mscoco.MsCoco,
    "openclipart": openclipart.OpenClipart,
}
