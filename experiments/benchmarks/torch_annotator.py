"""The complete model of Fig. 2 on ResNet-101, in plain PyTorch, for comparison in benchmarks.

Layer for layer the network of `msmm.models`, with random weights: only its time is compared.
"""

import torch
from torch import nn
from torch.nn import functional

DEPTHS = (3, 4, 23, 3)  # blocks of ResNet-101's four stages


def _conv_bn(channels: int, width: int, kernel: int, stride: int = 1, bias: bool = True) -> nn.Sequential:
    padding = kernel // 2
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, stride, padding, bias=bias), nn.BatchNorm2d(width, eps=1.001e-5)
    )


class _Block(nn.Module):
    """A bottleneck; the stride sits in the first 1x1 (decision 10)."""

    def __init__(self, channels: int, width: int, stride: int, shortcut: bool):
        super().__init__()
        self.shortcut = _conv_bn(channels, 4 * width, 1, stride) if shortcut else nn.Identity()
        self.first = _conv_bn(channels, width, 1, stride)
        self.second = _conv_bn(width, width, 3)
        self.third = _conv_bn(width, 4 * width, 1)

    def forward(self, x):
        y = functional.relu(self.second(functional.relu(self.first(x))))
        return functional.relu(self.third(y) + self.shortcut(x))


class _Fusion(nn.Module):
    """F_l of eq. 3 (decision 13)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.first = _conv_bn(channels, channels, 3, 2, bias=False)
        self.second = _conv_bn(channels, width, 1, bias=False)

    def forward(self, x):
        return functional.relu(self.second(functional.relu(self.first(x))))


class _Heads(nn.Module):
    """A classifier and a regressor on one feature [B, D]."""

    def __init__(self, size: int, num_classes: int):
        super().__init__()
        self.classifier = nn.Linear(size, num_classes)
        hidden = [nn.Linear(size, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 256), nn.ReLU()]
        self.quantity = nn.Sequential(*hidden, nn.Dropout(0.5), nn.Linear(256, 1))

    def forward(self, feature):
        return self.classifier(feature), self.quantity(feature)


class Annotator(nn.Module):
    """image RGB [B, 3, S, S] float32 in 0 … 255 and tags [B, T] float32 to probabilities [B, C] and raw
    quantity [B, 1]."""

    def __init__(self, num_classes: int, num_tags: int):
        super().__init__()
        self.register_buffer("mean", torch.tensor([103.939, 116.779, 123.68]).reshape(1, 3, 1, 1), False)
        self.stem = _conv_bn(3, 64, 7, 2)
        self.stages, channels = nn.ModuleList(), 64
        for i, depth in enumerate(DEPTHS):
            width, blocks = 64 * 2**i, []
            for block in range(depth):
                blocks.append(_Block(channels, width, 2 if i and not block else 1, shortcut=not block))
                channels = 4 * width
            self.stages.append(nn.Sequential(*blocks))
        self.fusions = nn.ModuleList(
            _Fusion(*pair) for pair in ((64, 256), (256, 512), (512, 1024), (1024, 2048))
        )
        self.textual = nn.Sequential(nn.Linear(num_tags, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU())
        self.joint, self.visual = _Heads(4096, num_classes), _Heads(2048, num_classes)

    def forward(self, image, tags):
        x = fused = functional.relu(self.stem(image.flip(1) - self.mean))
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage, fusion in zip(self.stages, self.fusions, strict=True):
            x = stage(x)
            fused = x + fusion(fused)
        f_v = fused.mean((2, 3))
        logits, quantity = self.joint(torch.cat([f_v, self.textual(tags)], 1))
        without_tags = self.visual(f_v)
        tagged = tags.sum(1, keepdim=True) > 0
        logits, quantity = (
            torch.where(tagged, a, b) for a, b in zip((logits, quantity), without_tags, strict=True)
        )
        return logits.sigmoid(), quantity
