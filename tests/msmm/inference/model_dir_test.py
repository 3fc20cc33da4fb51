import pytest

from msmm.core.errors import UserError
from msmm.inference import model_dir


@pytest.mark.parametrize("below", ["model", "seed0/model"])
def test_a_folder_that_a_model_lies_below_is_no_model_but_it_is_named(below, tmp_path):
    said = f"expected a model directory with model.keras in {tmp_path}. Received: no such file"
    with pytest.raises(UserError) as nothing:
        model_dir.check_directory(tmp_path)
    assert str(nothing.value) == said
    (tmp_path / below).mkdir(parents=True)
    (tmp_path / below / "model.keras").touch()
    with pytest.raises(UserError) as meant:
        model_dir.check_directory(tmp_path)
    assert str(meant.value) == f"{said}; did you mean {tmp_path / below}?"
