import pytest

from experiments.benchmarks import inference
from msmm.inference import engines, model_dir
from msmm.training import table_predictions


@pytest.fixture(scope="module")
def directory(trained_run):
    return table_predictions.save_model(trained_run)


def parse_rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.mark.slow
def test_speed_table_has_every_available_engine_with_its_relative_speed(directory, dataset):
    model = model_dir.load(directory)
    candidates = {"Keras": inference.keras_candidate(model)} | inference.engine_candidates(directory)
    available = [f"{engine}, {precision}" for engine, precision in inference.list_engines()]
    fixed = [f"ours: {name}" for name in available if "mixed" not in name]
    assert list(candidates) == ["Keras", *fixed] and "keras, float32" in available
    head, _, first, *others = parse_rows(inference.speed_table(candidates, model, [1, 3], 1))
    assert head == ["", "batch 1", "times", "batch 3", "times"] and first[2] == first[4] == "1.00"
    for name, *figures in others:
        one, three = float(figures[0]) / float(first[1]), float(figures[2]) / float(first[3])
        assert name in candidates and [float(figures[1]), float(figures[3])] == pytest.approx(
            [one, three], rel=0.02
        )


@pytest.mark.slow
@pytest.mark.parametrize("with_tags", [True, False])
def test_agreement_table_counts_equal_labels_and_recomputed_images(directory, dataset, with_tags):
    available = [f"{engine}, {precision}" for engine, precision in inference.list_engines()]
    table = inference.agreement_table(directory, dataset, 40, 32, with_tags)
    head, _, keras, *engines_rows = parse_rows(table)
    assert ("with tags" in head[0]) == with_tags
    assert [keras[0], *keras[2:5]] == ["Keras, model.predict", "1.00", "40 of 40", "100.00 %"]
    assert keras[5:] == ["0", "0.0e+00", ""]
    assert [row[0] for row in engines_rows] == available
    for name, speed, times, images, share, borderline, furthest, recomputed in engines_rows:
        assert float(times) == pytest.approx(float(speed) / float(keras[1]), rel=0.02)
        if "bfloat16" not in name:
            assert (images, share) == ("40 of 40", "100.00 %")
            assert int(borderline) <= 2 or "mixed" in name
        if "float32" in name:
            assert float(furthest) < 1e-5
        assert recomputed == "" or ("mixed" in name and 0 <= int(recomputed) <= 40)


@pytest.mark.slow
def test_peer_candidates_include_onnx_runtime_and_openvino(directory, capsys):
    peers = inference.peer_candidates(directory, model_dir.load(directory))
    printed = capsys.readouterr().out
    for name, engine in (("ONNX Runtime, float32", "onnxruntime"), ("OpenVINO, ", "openvino")):
        left_out = f"pip install 'msmm[{engines.ENGINES[engine].format}]'" in printed
        assert any(candidate.startswith(name) for candidate in peers) != left_out
    assert not any("PyTorch" in name for name in peers)


@pytest.mark.slow
def test_peer_candidates_include_the_network_in_pytorch(tmp_path):
    pytest.importorskip("torch")
    directory = inference.random_model(tmp_path, 81, 1000)
    assert "PyTorch eager, float32" in inference.peer_candidates(directory, model_dir.load(directory))
