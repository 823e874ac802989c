"""The usual kinds of classifiers in small, written as torchvision and timm write them: what users export."""

import torch
from torch import nn
from torch.nn import functional


def conv(inside: int, outside: int, side: int = 3, stride: int = 1, groups: int = 1, activation: type[nn.Module] = nn.ReLU):
    padding = (side - 1) // 2
    layer = nn.Conv2d(inside, outside, side, stride, padding, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outside), activation(inplace=True))


class Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(inside, outside, stride=stride), nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm, self.relu = nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        out = self.norm(self.second(self.first(x)))
        out += self.shortcut(x)
        return self.relu(out)


class ResNet(nn.Module):
    """Logits alone, as torchvision's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.layers = nn.Sequential(Residual(8, 8, 1), Residual(8, 16, 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(torch.flatten(self.avgpool(self.layers(self.stem(x))), 1))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, gate: type[nn.Module]) -> None:
        super().__init__()
        self.reduce, self.expand, self.gate = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1), gate()

    def forward(self, x):
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.expand(functional.silu(self.reduce(pooled), inplace=True)))


class InvertedResidual(nn.Module):
    def __init__(self, width: int, activation: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        self.expand = conv(width, 3 * width, 1, activation=activation)
        self.depthwise = conv(3 * width, 3 * width, 5, groups=3 * width, activation=activation)
        self.squeeze = SqueezeExcite(3 * width, gate)
        self.project = nn.Sequential(nn.Conv2d(3 * width, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return x + self.project(self.squeeze(self.depthwise(self.expand(x))))


class MobileNet(nn.Module):
    """Padded as TensorFlow pads, with hard activations and dropout."""

    def __init__(self, activation: type[nn.Module] = nn.Hardswish, gate: type[nn.Module] = nn.Hardsigmoid) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.blocks = nn.Sequential(InvertedResidual(8, activation, gate), InvertedResidual(8, activation, gate))
        self.head, self.drop, self.last = nn.Linear(8, 12), nn.Dropout(0.2), nn.Linear(12, 5)

    def forward(self, x):
        features = self.blocks(self.stem(functional.pad(x, (0, 1, 0, 1)))).mean([2, 3])
        embedding = functional.hardswish(self.head(features))
        return self.last(self.drop(embedding)), embedding


class EfficientNet(MobileNet):
    def __init__(self) -> None:
        super().__init__(nn.SiLU, nn.Sigmoid)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x):
        mixed = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        return x + (self.scale * mixed).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 8, 4, 4), nn.Sequential(ConvNeXtBlock(8), ConvNeXtBlock(8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        embedding = self.norm(self.blocks(self.stem(x)).mean([-2, -1]))
        return self.head(embedding), embedding


class Attention(nn.Module):
    """timm's: one projection of queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.project = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        query, key, value = (
            self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.project(mixed.transpose(1, 2).reshape(batch, tokens, width))


class ViT(nn.Module):
    """A class token, positions resized to the photo, timm's attention and then torch's own layer, as torchvision has it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.zeros(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 16, 2, 2, generator=torch.Generator().manual_seed(1)))
        self.norm, self.attention, self.drop = nn.LayerNorm(16), Attention(16, 4), nn.Dropout(0.1)
        self.theirs = nn.MultiheadAttention(16, 4, batch_first=True)
        self.mlp, self.head = nn.Sequential(nn.Linear(16, 32), nn.GELU("tanh"), nn.Linear(32, 16)), nn.Linear(16, 5)

    def forward(self, x):
        x = self.patches(x)
        x = x + functional.interpolate(self.positions, x.shape[-2:], mode="bicubic", antialias=True)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        x = self.drop(x + self.attention(self.norm(x)))
        x = x + self.theirs(x, x, x, need_weights=False)[0]
        embedding = (x + self.mlp(self.norm(x)))[:, 0]
        return self.head(embedding), embedding


class Windows(nn.Module):
    """What hierarchical transformers add: shifted windows, a mask made on the way, relative positions, groups of features."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.attention, self.head = nn.Conv2d(3, 16, 4, 4), Attention(16, 4), nn.Linear(16, 5)
        self.bias, self.norm = nn.Parameter(torch.randn(49, 4)), nn.GroupNorm(4, 16)
        self.register_buffer("index", torch.arange(256).reshape(16, 16) % 49)

    def forward(self, x):
        x = torch.roll(self.norm(self.patches(x)), (-2, -2), (2, 3)).permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        windows = x.view(batch, height // 4, 4, width // 4, 4, channels).transpose(2, 3).reshape(-1, 16, channels)
        mask = x.new_zeros((16, 16))
        mask[:8, 8:] = -100.0
        bias = self.bias[self.index.view(-1)].view(16, 16, 4).permute(2, 0, 1).mean(0) + mask
        scores = (windows @ windows.transpose(-2, -1) / channels**0.5 + bias).softmax(-1)
        x = self.attention(scores @ windows).view(batch, -1, channels)
        return self.head(x.mean(1))


NETWORKS = (ResNet, MobileNet, EfficientNet, ConvNeXt, ViT, Windows)
