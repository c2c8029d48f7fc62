#!/usr/bin/env python3
"""Makes Tests/Golden/fine-tuning.h5: logits, loss and gradients of timm's BEiT with fixed
sine-cosine positions and mean pooling, for FineTuneModelTests.

Usage: fine-tuning.py [--output FILE]
       needs: numpy, h5py, torch, timm

A model of 4 x 4 patches of 8 pixels, width 16, two blocks, two heads, five classes, in Float64.
Weights are those of DeterministicFill; relative position tables too, which start at zero otherwise.
Datasets: logits [2, 5], loss, and gradient/NAME of every parameter.
"""

import argparse
import math
import pathlib
import zlib

import h5py
import numpy as np
import timm
import torch
from timm.loss import SoftTargetCrossEntropy
from timm.models.beit import Beit

GRID, WIDTH, CLASSES = 4, 16, 5


def fill(name, count):
    phase = 2 * math.pi * (zlib.crc32(name.encode()) % 10000) / 10000
    s = np.sin(phase + 0.37 * np.arange(count))
    if "norm" in name and name.endswith(".weight"):
        return 1 + 0.1 * s
    return 0.1 + 0.03 * s if "gamma" in name else 0.25 * s


def positions():
    """[1, 1 + GRID^2, WIDTH] in Float32, row first, zeros for the class token."""
    quarter = WIDTH // 4
    frequencies = 10000.0 ** (-np.arange(quarter) / quarter)
    row, column = np.divmod(np.arange(GRID * GRID), GRID)
    parts = []
    for place in (row, column):
        angle = (place[:, None] * frequencies[None]).astype(np.float32)
        parts += [np.sin(angle), np.cos(angle)]
    table = np.concatenate(parts, axis=1)
    return np.concatenate([np.zeros((1, WIDTH), np.float32), table])[None].astype(np.float64)


def main():
    parser = argparse.ArgumentParser()
    default = pathlib.Path(__file__).resolve().parents[2] / "Tests/Golden/fine-tuning.h5"
    parser.add_argument("--output", type=pathlib.Path, default=default)
    arguments = parser.parse_args()
    model = Beit(
        img_size=8 * GRID, patch_size=8, num_classes=CLASSES, global_pool="avg", embed_dim=WIDTH,
        depth=2, num_heads=2, init_values=0.1, use_abs_pos_emb=True, use_rel_pos_bias=True,
    ).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "pos_embed":
                parameter.copy_(torch.from_numpy(positions()))
            else:
                values = fill(name, parameter.numel()).astype(np.float32).astype(np.float64)
                parameter.copy_(torch.from_numpy(values).reshape(parameter.shape))
    index = np.arange(2 * 3 * (8 * GRID) ** 2)
    images = (np.sin(0.01 * index) * np.cos(0.003 * index)).astype(np.float32)
    images = torch.from_numpy(images.astype(np.float64)).reshape(2, 3, 8 * GRID, 8 * GRID)
    logits = model(images)
    targets = torch.full((2, CLASSES), 0.1 / CLASSES, dtype=torch.float64)
    for row, labels in enumerate([(3, 1), (1, 3)]):
        targets[row, labels[0]] += 0.9 * 0.7
        targets[row, labels[1]] += 0.9 * 0.3
    loss = SoftTargetCrossEntropy()(logits, targets)
    loss.backward()
    with h5py.File(arguments.output, "w", libver=("v110", "v110")) as file:
        file["logits"] = logits.detach().numpy().astype(np.float32)
        file["loss"] = np.array([loss.item()])
        for name, parameter in model.named_parameters():
            if name != "pos_embed":
                file["gradient/" + name] = parameter.grad.numpy().astype(np.float32)
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes; timm {timm.__version__}")
    print(f"loss {loss.item():.12f}, logits {logits[0, :3].tolist()}")
    print([name for name, _ in model.named_parameters()])


if __name__ == "__main__":
    main()
