"""PyTorch's networks and steps in `benchmark_training` equal Keras': outputs, losses, weights after steps."""

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install torch")

from experiments.benchmarks import training  # noqa: E402
from experiments.benchmarks.torch_layers import Translation, to_torch  # noqa: E402
from experiments.benchmarks.torch_training import TorchTraining  # noqa: E402
from msmm.core.errors import UserError  # noqa: E402
from msmm.models import backbone, heads, losses, multi_scale, optimizers, textual  # noqa: E402
from tests.conftest import SHARED  # noqa: E402

SETUP = training.Setup("resnet-1-1-1-1-w4", 32, "float32", batch_size=8, steps=1, pytorch=("eager",))
LITE = SHARED / "weights/efficientnet_lite0_imagenet.keras"


def own_network():
    """A network with what ResNet lacks: depthwise layers, odd sides, strides with padding "same", ReLU6."""
    image = keras.Input((33, 33, 3))
    x = keras.layers.Rescaling((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="silu")(x)
    x = keras.layers.DepthwiseConv2D(5, strides=2, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(scale=False)(x)
    y = keras.layers.ReLU(max_value=6.0)(x)
    return keras.Model(image, [y, keras.layers.Add()([x, y])])


def maps_of(side=32):
    shapes = [(side // 2**i, side // 2**i, 4 * i) for i in range(1, 6)]
    return multi_scale.build_multi_scale(shapes)


NETWORKS = {
    "resnet": lambda: backbone.build("resnet-1-2-1-1-w4", image_size=64),
    "own": own_network,
    "fusion": maps_of,
    "textual": lambda: textual.build_textual(20, 16, 0.5),
    "quantity": lambda: heads.build_quantity(16, 2.0),
    "lite": lambda: backbone.build(str(LITE), image_size=64),
}


def randomised(model):
    """Gives batch normalisation statistics and biases that change something."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if len(variable.shape) == 1 and variable.dtype == "float32":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def arrays_for(model, batch=2):
    rng = np.random.default_rng(0)
    shapes = [(batch, *tensor.shape[1:]) for tensor in model.inputs]
    return [rng.uniform(0, 255 if shape[-1] == 3 else 1, shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_translated_network_has_the_outputs_of_keras(name):
    if name == "lite" and not LITE.exists():
        pytest.skip("EfficientNet-Lite0's weights are not at hand")
    model = NETWORKS[name]() if name == "lite" else randomised(NETWORKS[name]())
    arrays = arrays_for(model)
    expected = keras.tree.flatten(model.predict_on_batch(arrays))
    with torch.no_grad():
        outputs = Translation(model).eval()(*map(to_torch, arrays))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for output, wanted in zip(outputs, expected, strict=True):
        output = output.permute(0, 2, 3, 1) if output.ndim == 4 else output
        np.testing.assert_allclose(output.numpy(), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_a_layer_without_a_translation_is_named():
    feature = keras.Input((4,))
    model = keras.Model(feature, keras.layers.LayerNormalization(name="norm")(feature))
    with pytest.raises(UserError, match=r"norm \(LayerNormalization\): --pytorch= leaves"):
        Translation(model)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return training.make_runs(tmp_path_factory.mktemp("runs"), SETUP)


@pytest.mark.parametrize("stage", [training.FINETUNE, training.VISUAL, training.THROUGH, "textual"])
def test_first_losses_and_weights_equal_those_of_keras(stage, runs):
    work = training.make_work(runs["images"], stage, 8)
    other = TorchTraining(work, learning_rate=0.01)
    model = work.trained
    if work.frozen:
        work.frozen.trainable = False
        model = keras.Model(work.frozen.inputs, work.trained(work.frozen.outputs))
    model.compile(optimizers.Momentum(0.01, l2=1e-4), losses.sigmoid_cross_entropy, jit_compile=False)
    before = [np.array(v) for v in work.trained.trainable_variables]
    ours, theirs = [], []
    for _ in range(4):
        model.reset_metrics()
        ours.append(float(model.train_on_batch(list(work.inputs), work.targets)))
        theirs.append(other.step())
    assert ours[-1] != pytest.approx(ours[0], rel=1e-3)  # it learns
    np.testing.assert_allclose(theirs, ours, rtol=2e-3)
    kernel = next(v for v in reversed(work.trained.trainable_variables) if v.path.endswith("logits/kernel"))
    weight = [p for p in other.network.parameters() if p.ndim == 2][-1].detach().numpy().T
    moved = np.abs(
        np.array(kernel) - before[[v.path for v in work.trained.trainable_variables].index(kernel.path)]
    )
    np.testing.assert_allclose(weight, np.array(kernel), atol=0.02 * moved.max())


def test_squared_errors_and_kernels_decay_as_in_keras(runs):
    work = training.make_work(runs["images"], "quantity_visual", 8)
    training_ = TorchTraining(work, learning_rate=0.0)
    outputs = work.trained(work.inputs[0], training=False)
    loss = np.mean((np.array(outputs) - work.targets) ** 2)
    training_.network.eval()  # without dropout
    assert training_.step() == pytest.approx(float(loss), rel=1e-4)
    groups = training_._optimizer.param_groups
    assert [(g["weight_decay"], {p.ndim for p in g["params"]}) for g in groups] == [(1e-4, {2}), (0.0, {1})]


@pytest.mark.slow
def test_compiled_steps_have_the_losses_of_eager_ones(runs):
    work = training.make_work(runs["images"], training.VISUAL, 8)
    eager, compiled = (TorchTraining(work, compiled=mode, learning_rate=0.01) for mode in (False, True))
    for _ in range(3):
        assert compiled.step() == pytest.approx(eager.step(), rel=1e-3)


def test_autocast_computes_in_bfloat16(runs):
    work = training.make_work(runs["images"], training.FINETUNE, 8)
    exact, rounded = TorchTraining(work).step(), TorchTraining(work, "bfloat16").step()
    assert rounded == pytest.approx(exact, rel=0.05) and rounded != exact
