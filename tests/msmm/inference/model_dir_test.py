import pytest

from msmm.core.errors import UserError
from msmm.inference import model_dir


@pytest.mark.parametrize("below", ["model", "seed0/model"])
def test_a_parent_folder_of_a_model_is_refused_with_a_suggestion(below, tmp_path):
    said = f"expected a model directory with model.keras in {tmp_path}. Received: no such file"
    with pytest.raises(UserError) as nothing:
        model_dir.check(tmp_path)
    assert str(nothing.value) == said
    (tmp_path / below).mkdir(parents=True)
    (tmp_path / below / "model.keras").touch()
    with pytest.raises(UserError) as meant:
        model_dir.check(tmp_path)
    assert str(meant.value) == f"{said}; did you mean {tmp_path / below}?"
