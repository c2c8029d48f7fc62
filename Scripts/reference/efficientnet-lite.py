#!/usr/bin/env python3
"""Makes Tests/Golden/efficientnet-lite.h5: a small network of EfficientNet-Lite0's form and its features.

    efficientnet-lite.py Tests/Golden/efficientnet-lite.h5
    efficientnet-lite.py --compare teacher.safetensors PACKAGE-FOLDER

Needs PyTorch and h5py. The statement of the network is this file's own: convolutions with TensorFlow's
padding, batch norm by running statistics, in Float64. With --compare it runs the published weights through
itself and through the PyTorch package efficientnet-lite-pytorch, and prints the largest difference.

    /NAME                  weights, named as in the package: the file can be a teacher
    /example/images        [2, 3, 48, 48]
    /example/features      [2, 10, C]: the mean, then the patches
"""

import sys

import torch
import torch.nn.functional as F

KERNELS = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1]
WIDTHS = [8, 4, 6, 6, 10, 10, 12, 12, 12, 14, 14, 14]
EXPANSION = 2


def padded(x, kernel, stride):
    size = x.shape[-1]
    total = max(((size + stride - 1) // stride - 1) * stride + kernel - size, 0)
    return F.pad(x, (total // 2, total - total // 2) * 2)


def convolution(x, weight, stride=1, groups=1):
    return F.conv2d(padded(x, weight.shape[-1], stride), weight, stride=stride, groups=groups)


def normalized(x, weights, name):
    parts = [weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *parts, training=False, eps=1e-3)


def features(weights, x):
    x = F.relu6(normalized(convolution(x, weights["_conv_stem.weight"], 2), weights, "_bn0"))
    for index, stride in enumerate(STRIDES):
        name, before = f"_blocks.{index}", x
        if f"{name}._expand_conv.weight" in weights:
            x = convolution(x, weights[f"{name}._expand_conv.weight"])
            x = F.relu6(normalized(x, weights, f"{name}._bn0"))
        x = convolution(x, weights[f"{name}._depthwise_conv.weight"], stride, x.shape[1])
        x = F.relu6(normalized(x, weights, f"{name}._bn1"))
        x = normalized(convolution(x, weights[f"{name}._project_conv.weight"]), weights, f"{name}._bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
    patches = x.flatten(2).transpose(1, 2)
    return torch.cat([patches.mean(1, keepdim=True), patches], 1)


def small(generator):
    weights = {}

    def add(name, *shape):
        fan = shape[1] * shape[2] * shape[3]
        weights[name] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5

    def norm(name, width):
        weights[name + ".weight"] = 1 + 0.2 * torch.randn(width, generator=generator)
        weights[name + ".bias"] = 0.5 * torch.randn(width, generator=generator)
        weights[name + ".running_mean"] = 0.3 * torch.randn(width, generator=generator)
        weights[name + ".running_var"] = 0.3 + torch.rand(width, generator=generator)

    add("_conv_stem.weight", WIDTHS[0], 3, 3, 3)
    norm("_bn0", WIDTHS[0])
    for index, kernel in enumerate(KERNELS):
        name, inputs, outputs = f"_blocks.{index}", WIDTHS[index], WIDTHS[index + 1]
        wide = inputs
        if index > 0:
            wide = inputs * EXPANSION
            add(f"{name}._expand_conv.weight", wide, inputs, 1, 1)
            norm(f"{name}._bn0", wide)
        add(f"{name}._depthwise_conv.weight", wide, 1, kernel, kernel)
        norm(f"{name}._bn1", wide)
        add(f"{name}._project_conv.weight", outputs, wide, 1, 1)
        norm(f"{name}._bn2", outputs)
    return weights


def compare(path, package):
    from safetensors.torch import load_file

    sys.path.insert(0, package)
    from efficientnet_lite_pytorch import EfficientNet

    weights = load_file(path)
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    model.load_state_dict(weights, strict=False)
    images = torch.randn((2, 3, 224, 224), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        x = model._swish(model._bn0(model._conv_stem(images)))
        for block in model._blocks[: len(STRIDES)]:
            x = block(x)
    found = features({n: t.double() for n, t in weights.items()}, images.double())[:, 1:]
    expected = x.flatten(2).transpose(1, 2)
    print(f"{tuple(expected.shape)}: largest difference {(found - expected).abs().max():.2e} "
          f"of values up to {expected.abs().max():.1f}")


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--compare":
        return compare(*sys.argv[2:])
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    import h5py

    generator = torch.Generator().manual_seed(0)
    weights = small(generator)
    images = torch.randn((2, 3, 48, 48), generator=generator)
    result = features({n: t.double() for n, t in weights.items()}, images.double())
    with h5py.File(sys.argv[1], "w") as file:
        for name, tensor in weights.items():
            file[name] = tensor.numpy()
        file["example/images"] = images.numpy()
        file["example/features"] = result.float().numpy()


if __name__ == "__main__":
    main()
