import pytest

from msmm.core.errors import UserError
from msmm.inference import model_dir


@pytest.mark.parametrize("below", ["model", "seed0/model"])
def test_a_parent_folder_of_a_model_is_refused_with_a_suggestion(below, tmp_path):
    message = f"expected a model directory with model.keras in {tmp_path}. Received: no such file"
    with pytest.raises(UserError) as without_suggestion:
        model_dir.check_directory(tmp_path)
    assert str(without_suggestion.value) == message
    (tmp_path / below).mkdir(parents=True)
    (tmp_path / below / "model.keras").touch()
    with pytest.raises(UserError) as with_suggestion:
        model_dir.check_directory(tmp_path)
    assert str(with_suggestion.value) == f"{message}; did you mean {tmp_path / below}?"
