"""The steps of a stage shared among devices or machines, with tf.distribute.

A step equals the step of one process on the whole batch: each replica takes its share, batch normalisation is
synchronised, and gradients are summed. One worker, the chief, trains as if alone, and is the only one that
writes. At the start of an epoch it broadcasts the epoch and the weights, and the other workers take the same
steps. So they keep no state, and only the chief works between epochs.
"""

import contextlib
import functools
import json
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from msmm.configs.base import Config
from msmm.core.errors import UserError
from msmm.data.input_pipeline import Share
from msmm.training.compiling import build_optimizer
from msmm.training.fast_layers import plain_copy
from msmm.training.task import Task

_DONE = -1


class Distribution:
    """The replicas that share a step: the devices of this process, or of every process of a cluster.

    Args:
        mode: "mirrored" takes this machine's GPUs, or the logical CPU devices of TensorFlow; "multi_worker"
            takes the cluster of the environment variable TF_CONFIG, and waits until it is whole.
        config: the settings.

    Raises:
        UserError: the settings do not allow it, or TF_CONFIG does not describe a cluster.
    """

    def __init__(self, mode: str, config: Config):
        if config.precision == "float16":
            raise UserError("--distribute trains in float32 or bfloat16: choose another --precision")
        if config.recompute:
            raise UserError("--recompute is for a single process and device: leave it or --distribute out")
        if mode == "multi_worker":
            self.share = _read_cluster_share()
            _check_batch(config.batch_size, self.share.workers)
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        else:
            devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            self.share = Share()
            self.strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        self.replicas = self.strategy.num_replicas_in_sync
        _check_batch(config.batch_size, self.replicas)

    @property
    def is_chief(self) -> bool:
        """True for the worker that trains the other stages and writes."""
        return self.share.index == 0

    def steps(self, task: Task, config: Config, stage: int, learning_rate: float, model: keras.Model):
        """Returns the chief's steps: epoch number -> (loss, images) of each step, then `model` has the new
        weights.

        stage: a number by which the other workers know the task.
        """
        replicas = None

        def run_epoch(epoch: int) -> Iterator[tuple[float, int]]:
            nonlocal replicas
            self.broadcast_epoch(stage, epoch, learning_rate, replicas is None)
            if replicas is None:
                replicas = Replicas(self, task, config, learning_rate)
            own = [*model.variables, *model.optimizer.variables]
            replicas.assign([keras.ops.convert_to_numpy(v) for v in own])
            yield from replicas.steps(epoch)
            for variable, value in zip(own, replicas.values(), strict=True):
                variable.assign(value)

        return run_epoch

    def broadcast_epoch(
        self, stage: int, epoch: int = 0, learning_rate: float = 0.0, fresh: bool = False
    ) -> None:
        """Sends the next epoch to the other workers. Called by the chief alone."""
        self.sum(np.array([stage, epoch, learning_rate, fresh], np.float64))

    def broadcast_done(self) -> None:
        """Ends the other workers. Called by the chief alone."""
        self.broadcast_epoch(_DONE)

    def receive_epoch(self) -> tuple[int, int, float, bool] | None:
        """Returns what the chief broadcasts, or None after `broadcast_done`. Called by the other workers."""
        stage, epoch, learning_rate, fresh = self.sum(np.zeros(4))
        return None if stage == _DONE else (int(stage), int(epoch), float(learning_rate), bool(fresh))

    def sum(self, array: np.ndarray) -> np.ndarray:
        """Returns the sum of an array over the workers; each waits for the others."""
        if self.share.workers == 1:
            return array
        local = self.replicas // self.share.workers

        def local_value(context):
            first = context.replica_id_in_sync_group % local == 0
            return tf.constant(array if first else np.zeros_like(array))

        parts = self.strategy.experimental_distribute_values_from_function(local_value)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None).numpy()

    def split(self, batch):
        """Splits this worker's share of a batch (an array or a list of arrays) among its replicas."""
        local = self.replicas // self.share.workers

        def local_share(context):
            part = Share(context.replica_id_in_sync_group % local, local)
            return tf.nest.map_structure(lambda array: tf.convert_to_tensor(part.of(array)), batch)

        return self.strategy.experimental_distribute_values_from_function(local_share)


class Replicas:
    """A task's model on every device, with its own optimiser. All workers create it at the same time."""

    def __init__(self, distribution: Distribution, task: Task, config: Config, learning_rate: float):
        self._distribution, self._task, self._batch_size = distribution, task, config.batch_size
        plain = task.build()[0]
        with distribution.strategy.scope():
            # Statistics of a batch are those of all replicas, which the fused op cannot compute.
            self.model = keras.models.clone_model(plain, clone_function=plain_copy)
            # Each replica adds its share of the weight decay, before gradients are summed.
            decay = config.weight_decay / distribution.replicas
            self.optimizer = build_optimizer(task, config, learning_rate, decay)
            self.optimizer.build(self.model.trainable_variables)
        for layer in self.model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        self._variables = [*self.model.variables, *self.optimizer.variables]

    def values(self) -> list[np.ndarray]:
        """Returns the value of every variable, the model's and then the optimiser's."""
        return [keras.ops.convert_to_numpy(v) for v in self._variables]

    def assign(self, values: list[np.ndarray] | None = None) -> None:
        """Assigns the chief's values on every worker; the other workers call it without values."""
        given = values or (np.zeros(v.shape) for v in self._variables)
        for variable, value in zip(self._variables, given, strict=True):
            exact = np.asarray(value, np.float64)  # holds every integer that counts steps, too
            variable.assign(self._distribution.sum(exact).astype(variable.dtype))

    def steps(self, epoch: int) -> Iterator[tuple[float, int]]:
        """Takes the steps of an epoch and yields (loss, images) of each, over all workers."""
        distribution = self._distribution
        for batch in self._task.data.batches(epoch, distribution.share):
            x, y = (distribution.split(part) for part in batch)
            yield float(self._step(x, y)), self._batch_size

    @functools.cached_property
    def _step(self):
        strategy = self._distribution.strategy

        def replica_step(x, y):
            with tf.GradientTape() as tape:
                loss = (
                    tf.reduce_sum(self._task.optimisation.loss(y, self.model(x, training=True)))
                    / self._batch_size
                )
                loss += (
                    sum(self.model.losses) / self._distribution.replicas
                )  # a user's own backbone may have some
            variables = self.model.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        @tf.function
        def step(x, y):
            return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(replica_step, (x, y)), axis=None)

        return step


def _check_batch(batch_size: int, replicas: int) -> None:
    if batch_size % replicas:
        raise UserError(
            f"{replicas} replicas cannot share a batch of {batch_size} images equally: choose a --batch_size "
            f"that is a multiple of {replicas}"
        )


def _read_cluster_share() -> Share:
    """Returns this process's place in TF_CONFIG's cluster, the chief first."""
    try:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        cluster = resolver.cluster_spec().as_dict()
        workers = [(kind, i) for kind in ("chief", "worker") for i in range(len(cluster.get(kind, ())))]
        return Share(workers.index((resolver.task_type, resolver.task_id)), len(workers))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        example = {
            "cluster": {"worker": ["host0:2222", "host1:2222"]},
            "task": {"type": "worker", "index": 0},
        }
        raise UserError(
            "--distribute=multi_worker expects the environment variable TF_CONFIG on every worker, such as "
            f"{json.dumps(example)} on the first. It could not be read so: {error or 'it is not set'}"
        ) from error


@contextlib.contextmanager
def cluster_errors() -> Iterator[None]:
    """Turns the failure of another worker into a UserError of one line."""
    try:
        yield
    except tf.errors.OpError as error:
        raise UserError(
            f"another worker failed or cannot be reached; start all of them again ({str(error)[:300]})"
        ) from error
