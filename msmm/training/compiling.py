"""The compiled model and the optimiser of a task, and the steps that train it in this process."""

from collections.abc import Callable, Iterable

import keras

from msmm.configs.base import Config
from msmm.models import optimizers
from msmm.training.task import Task

Steps = Callable[[int], Iterable[tuple[float, int]]]  # epoch number -> (loss, images) of each step


def build_compiled(
    task: Task, config: Config, learning_rate: float
) -> tuple[keras.Model, dict[str, keras.Model]]:
    """Returns the task's fresh model, ready for `train_on_batch`, and its parts that train."""
    model, parts = task.build()
    optimizer = build_optimizer(task, config, learning_rate, config.weight_decay)
    model.compile(optimizer, loss=task.optimisation.loss, jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model, parts


def build_optimizer(
    task: Task, config: Config, learning_rate: float, weight_decay: float
) -> keras.optimizers.Optimizer:
    """Returns the task's optimiser; weight_decay: of the paper's optimiser."""
    steps = task.optimisation.epochs * task.data.steps_per_epoch
    if task.optimisation.make_optimizer:
        optimizer = task.optimisation.make_optimizer(learning_rate, steps)
    else:
        rate = optimizers.schedule(learning_rate, steps)
        optimizer = optimizers.Momentum(rate, config.momentum, weight_decay)
    if drops_on_plateau(task, config):
        optimizer = optimizers.without_schedule(optimizer, learning_rate)
    if config.precision == "float16":  # without loss scaling the smallest gradients would be 0
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def drops_on_plateau(task: Task, config: Config) -> bool:
    """Returns whether the loop drops the learning rate, not a schedule (decision 4)."""
    return task.optimisation.on_features and config.head_schedule == "plateau"


def local_steps(task: Task, model: keras.Model) -> Steps:
    """Returns the steps of an epoch in this process."""
    shapes = None

    def steps(epoch: int) -> Iterable[tuple[float, int]]:
        nonlocal shapes
        for x, y in task.data.batches(epoch):
            # A new size is traced by itself: a graph for all sizes sums in another order, and a training
            # that resumes would differ from one that has seen the sizes before.
            if shapes != (now := [array.shape[1:] for array in keras.tree.flatten(x)]):
                shapes, model.train_function = now, None
            model.reset_metrics()  # or train_on_batch may return a mean over steps
            yield float(model.train_on_batch(x, y)), len(y)

    return steps
