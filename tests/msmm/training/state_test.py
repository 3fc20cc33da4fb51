"""Damage to the state of an interrupted stage."""

import numpy as np

from msmm.core.errors import UserError
from msmm.training import state


def test_no_damaged_byte_of_the_zip_directory_gives_another_state(tmp_path):
    """A length there can swallow the entries that follow it, and zipfile then sees a file without them."""
    path, owner = tmp_path / "state.npz", {"settings": {"k": 3}, "inputs": {}}
    arrays = {"variable0": np.arange(3.0), "best0": np.ones(900, np.float32), "step": np.array(7)}
    state.save_state(path, arrays, state.Progress(0.1, epoch=3), owner)

    def read():
        progress, found = state.load_state(path, owner)
        return repr(progress), {name: array.tolist() for name, array in found.items()}

    whole, expected, refused = path.read_bytes(), read(), 0
    for i in range(whole.index(b"PK\x01\x02"), len(whole)):
        for value in {0, 254, whole[i] ^ 1, whole[i] ^ 128} - {whole[i]}:
            path.write_bytes(whole[:i] + bytes([value]) + whole[i + 1 :])
            try:
                assert read() == expected, (i, value)
            except UserError:
                refused += 1
    assert refused > 100
