"""Training steps in PyTorch, on the same networks, weights, batches and optimiser as in Keras."""

import contextlib
import dataclasses

import keras
import numpy as np
import torch
from torch.nn import functional

from experiments.benchmarks.torch_layers import Translation, l2_groups, to_torch


@dataclasses.dataclass(frozen=True)
class Work:
    """The networks and the data of a step that is measured.

    Attributes:
        trained: the network that trains; its output is logits [B, C] or raw quantities [B, 1].
        inputs: arrays in the order of the network's inputs: of `frozen`, else of `trained`; [B, …] float32.
        targets: labels [B, C] in {0, 1} (eq. 4), or quantities [B, 1] (eq. 5), float32.
        frozen: a network that computes the inputs of `trained` at every step; or None.
        counts: whether the targets are quantities.
    """

    trained: keras.Model
    inputs: tuple[np.ndarray, ...]
    targets: np.ndarray
    frozen: keras.Model | None = None
    counts: bool = False


class TorchTraining:
    """Training steps of PyTorch: SGD with momentum, L2 of kernels, one batch in memory, channels last.

    Args:
        work: of the stage; its weights are copied.
        precision: "float32", or what autocast computes in.
        compiled: whether `torch.compile` compiles the networks.
        learning_rate, momentum, l2: of the optimiser.
    """

    def __init__(
        self,
        work: Work,
        precision: str = "float32",
        compiled: bool = False,
        learning_rate: float = 1e-6,
        momentum: float = 0.9,
        l2: float = 1e-4,
    ):
        self.network = Translation(work.trained).train()
        frozen = Translation(work.frozen).eval() if work.frozen else None
        self._optimizer = torch.optim.SGD(l2_groups(self.network, l2), learning_rate, momentum)
        wrap = torch.compile if compiled else lambda module: module
        self._trained, self._frozen = wrap(self.network), wrap(frozen) if frozen else None
        self._inputs = tuple(map(to_torch, work.inputs))
        self._targets, self._counts = torch.from_numpy(work.targets), work.counts
        self._precision = precision

    def step(self) -> float:
        """Takes a step, and returns the loss before it: the mean over the batch of eq. 4 or 5."""
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            outputs = self._trained(*self._features()).float()
        if self._counts:
            loss = functional.mse_loss(outputs, self._targets, reduction="sum")
        else:
            loss = functional.binary_cross_entropy_with_logits(outputs, self._targets, reduction="sum")
        loss = loss / len(self._targets)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    def _features(self) -> tuple:
        if self._frozen is None:
            return self._inputs
        with torch.no_grad():
            features = self._frozen(*self._inputs)
        return features if isinstance(features, tuple) else (features,)

    def _autocast(self):
        if self._precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast("cpu", getattr(torch, self._precision))
