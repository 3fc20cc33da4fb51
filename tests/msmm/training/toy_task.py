"""A regression small enough to be trained many times."""

import dataclasses

import keras
import numpy as np

from msmm.configs.base import Config
from msmm.data.input_pipeline import batches_of, epoch_rows
from msmm.models import losses
from msmm.training.task import Evaluation, Optimisation, Task, TrainingData
from tests.msmm.training.common import Killed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 5)).astype(np.float32)
Y = (X @ RNG.normal(size=5) + 3).astype(np.float32)
CONFIG = Config(batch_size=8, patience=20)
SETTINGS = {"what": "a test"}


def make_task(learning_rate=0.02, epochs=6, killed_at=None, scale=1.0):
    def build():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((5,))
        x = keras.layers.Dense(8, activation="relu")(inputs)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Dropout(0.3)(x)
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        return model, {"regressor": model}

    def batches(epoch):
        for step, rows in enumerate(batches_of(epoch_rows(np.arange(64), 0, epoch), 8)):
            if killed_at == (epoch, step):
                raise Killed
            yield X[rows] * scale, Y[rows]

    return Task(
        "test",
        build,
        TrainingData(batches, steps_per_epoch=8),
        Optimisation(losses.squared_error, learning_rate, epochs),
        Evaluation(
            predict=lambda model: np.asarray(model.predict_on_batch(X)),
            ground_truth=Y,
            measure=lambda model, raw: {"MSE": float(((raw[:, 0] - Y) ** 2).mean())},
            select="MSE",
            smaller_is_better=True,
        ),
    )


def replace_fields(task, **fields):
    """Returns a task with other fields of its data, optimisation or evaluation."""
    for part in ("data", "optimisation", "evaluation"):
        names = {f.name for f in dataclasses.fields(getattr(task, part))} & fields.keys()
        changed = dataclasses.replace(getattr(task, part), **{name: fields.pop(name) for name in names})
        task = dataclasses.replace(task, **{part: changed})
    return dataclasses.replace(task, **fields)


def make_averaging_optimizer(learning_rate, steps):
    return keras.optimizers.SGD(learning_rate, use_ema=True, ema_momentum=0.9)
