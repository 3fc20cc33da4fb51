"""Functional Keras networks as PyTorch modules: the same layers, weights and outputs, for comparison.

Maps are [B, C, h, w] in PyTorch and [B, h, w, C] in Keras. Give maps in the memory format "channels last".
"""

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from msmm.core.errors import UserError

_ACTIVATIONS = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


class Translation(nn.Module):
    """A functional Keras model, translated layer by layer.

    Raises:
        UserError: a layer has no translation.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self.layers = nn.ModuleList()
        self._plan: list[
            tuple[int, tuple[int, ...], tuple[int, ...]]
        ] = []  # layer, places read, places written
        places: dict[int, int] = {id(tensor): place for place, tensor in enumerate(model.inputs)}
        numbers: dict[int, int] = {}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                operation = node.operation
                if isinstance(operation, keras.layers.InputLayer):
                    continue
                if id(operation) not in numbers:
                    numbers[id(operation)] = len(self.layers)
                    self.layers.append(_translate(operation))
                written = [places.setdefault(id(tensor), len(places)) for tensor in node.outputs]
                read = tuple(places[id(tensor)] for tensor in node.input_tensors)
                self._plan.append((numbers[id(operation)], read, tuple(written)))
        self._outputs = [places[id(tensor)] for tensor in model.outputs]

    def forward(self, *inputs):
        values = dict(enumerate(inputs))
        for number, read, written in self._plan:
            outputs = self.layers[number](*(values[place] for place in read))
            values.update(zip(written, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))
        outputs = tuple(values[place] for place in self._outputs)
        return outputs if len(outputs) > 1 else outputs[0]


def to_torch(array: np.ndarray) -> torch.Tensor:
    """Returns vectors as they are, and maps [B, h, w, C] as [B, C, h, w], channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def l2_groups(module: nn.Module, l2: float) -> list[dict]:
    """Returns parameter groups in which kernels alone decay, as in `msmm.models.optimizers.Momentum`."""
    trained = [p for p in module.parameters() if p.requires_grad]
    kernels = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim == 1]
    return [{"params": kernels, "weight_decay": l2}, {"params": others, "weight_decay": 0.0}]


class _Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class _SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding "same": at a stride, more at the bottom and the right."""

    def forward(self, x):
        before, padding = [], []
        for side, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            before.append(total // 2)
            padding = [total // 2, total - total // 2, *padding]  # of the width first
        if padding[0] == padding[1] and padding[2] == padding[3]:
            return functional.conv2d(
                x, self.weight, self.bias, self.stride, before, self.dilation, self.groups
            )
        x = functional.pad(x, padding)
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _translate(operation) -> nn.Module:
    if isinstance(operation, keras.Model):
        return Translation(operation)
    name = type(operation).__name__
    if name not in _TRANSLATORS:
        raise UserError(
            f"no PyTorch translation of the layer {operation.name} ({name}): --pytorch= leaves PyTorch out"
        )
    return _TRANSLATORS[name](operation)


def _tensor(variable) -> torch.Tensor:
    return torch.tensor(keras.ops.convert_to_numpy(variable))


def _with_activation(module: nn.Module, layer) -> nn.Module:
    activation = _activation(layer.activation)
    return module if isinstance(activation, nn.Identity) else nn.Sequential(module, activation)


def _activation(function) -> nn.Module:
    return _ACTIVATIONS[function.__name__]()


def _convolution(layer) -> nn.Module:
    kernel = _tensor(layer.kernel)  # [h, w, in, out]; depthwise [h, w, C, 1]
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    weight = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
    kind = _SameConv2d if layer.padding == "same" else nn.Conv2d
    groups = len(weight) if depthwise else layer.groups
    sizes = (weight.shape[1] * groups, len(weight), tuple(layer.kernel_size), tuple(layer.strides))
    module = kind(*sizes, groups=groups, bias=layer.use_bias, dilation=tuple(layer.dilation_rate))
    module.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
    if layer.use_bias:
        module.bias = nn.Parameter(_tensor(layer.bias))
    return _with_activation(module, layer)


def _dense(layer) -> nn.Module:
    module = nn.Linear(*layer.kernel.shape, bias=layer.use_bias)
    module.weight = nn.Parameter(_tensor(layer.kernel).T.contiguous())
    if layer.use_bias:
        module.bias = nn.Parameter(_tensor(layer.bias))
    return _with_activation(module, layer)


def _batch_norm(layer) -> nn.Module:
    channels = layer.moving_mean.shape[0]
    kind = nn.BatchNorm2d if len(layer.input.shape) == 4 else nn.BatchNorm1d
    module = kind(channels, layer.epsilon, 1 - layer.momentum)
    for part, own in (("weight", layer.gamma), ("bias", layer.beta)):
        if own is None:
            getattr(module, part).requires_grad_(False)
        else:
            setattr(module, part, nn.Parameter(_tensor(own)))
    module.running_mean, module.running_var = _tensor(layer.moving_mean), _tensor(layer.moving_variance)
    return module


def _relu(layer) -> nn.Module:
    if layer.negative_slope or layer.threshold:
        raise TypeError(f"no PyTorch translation of the slope or threshold of {layer.name}")
    return nn.ReLU() if layer.max_value is None else nn.Hardtanh(0.0, float(layer.max_value))


class _Rescaling(nn.Module):
    def __init__(self, layer):
        super().__init__()
        for name in ("scale", "offset"):
            value = torch.tensor(np.asarray(getattr(layer, name), np.float32))
            self.register_buffer(name, value.reshape(1, -1, 1, 1) if value.ndim else value)

    def forward(self, x):
        return x * self.scale + self.offset


def _max_pooling(layer) -> nn.Module:
    if layer.padding != "valid":
        raise TypeError(f"no PyTorch translation of the padding of {layer.name}")
    return nn.MaxPool2d(layer.pool_size, layer.strides)


def _zero_padding(layer) -> nn.Module:
    (top, bottom), (left, right) = layer.padding
    return nn.ZeroPad2d((left, right, top, bottom))


def _flip(operation) -> nn.Module:
    if operation.axis != -1:
        raise TypeError(f"no PyTorch translation of a flip along axis {operation.axis}")
    return _Call(lambda x: x.flip(1))


def _concatenate(layer) -> nn.Module:
    if layer.axis != -1:
        raise TypeError(f"no PyTorch translation of the axis of {layer.name}")
    return _Call(lambda *parts: torch.cat(parts, 1))


_TRANSLATORS = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "ReLU": _relu,
    "Activation": lambda layer: _activation(layer.activation),
    "Rescaling": _Rescaling,
    "ZeroPadding2D": _zero_padding,
    "MaxPooling2D": _max_pooling,
    "GlobalAveragePooling2D": lambda layer: _Call(lambda x: x.mean((2, 3))),
    "Add": lambda layer: _Call(lambda *parts: sum(parts[1:], parts[0])),
    "Concatenate": _concatenate,
    "Dropout": lambda layer: nn.Dropout(layer.rate),
    "Flip": _flip,
}
