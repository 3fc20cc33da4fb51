"""All raw data sets by the name that `--dataset` takes."""

import dataclasses

from msmm.data.locating import PACK
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


def pack_command(name: str) -> str:
    """Returns the command that packs a data set; for a name of the user's own, the command alone."""
    words = [PACK]
    if name in DATASETS:
        words.append(f"--dataset={name}")
        for field in dataclasses.fields(DATASETS[name]):
            if "required" in field.metadata or field.name == "raw_dir":
                words.append(f"--{field.name}={field.metadata.get('required', 'DIR').partition(',')[0]}")
    return " ".join(words)
