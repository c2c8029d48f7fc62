#!/usr/bin/env python3
"""Makes Tests/Golden/augmentations.h5: what timm makes of given draws, for RandAugmentTests,
RandomErasingTests and MixupTests.

Usage: augmentations.py [--output FILE]
       needs: numpy, h5py, Pillow < 13, torch, timm, and the sample pictures of scikit-image

Cases have datasets PREFIX-image, PREFIX-parameters and PREFIX-expected, images as UInt8
[height, width, channels], parameters as Float64:
  randNNN   number of the operation; magnitude; 1 if negative (all 15 of timm's `inc1`)
  twiceNNN  the same three of a first and of a second operation
eraseNNN: -image and -expected Float32 [channels, size, size], -noise Float32
  [channels, height, width], -parameters share of the area, logarithm of the aspect, top, left
mixNNN: -image and -expected Float32 [B, C, H, W], -labels, -targets Float32 [B, classes], -logits,
  -gradient, and -parameters 1 if CutMix, lambda as drawn, row and column of the centre, lambda
  after correction, smoothing, loss
"""

import argparse
import importlib.util
import pathlib
import sys
from unittest import mock

import h5py
import numpy as np
import PIL
import timm
import torch
from PIL import Image
from timm.data import auto_augment, mixup, random_erasing
from timm.loss import SoftTargetCrossEntropy

MEAN = (0.485, 0.456, 0.406)
NAMES = auto_augment.rand_augment_choices("", increasing=True)


def picture(pixels):
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def pixels_of(image):
    result = np.asarray(image)
    return result if result.ndim == 3 else result[:, :, np.newaxis]


def operated(image, draws):
    result = picture(image)
    fill = tuple(min(255, round(255 * value)) for value in MEAN)
    fill = fill[0] if image.shape[2] == 1 else fill
    for number, magnitude, negative in draws:
        hparams = dict(img_mean=fill, interpolation=Image.Resampling.BICUBIC)
        operation = auto_augment.AugmentOp(NAMES[number], 1.0, magnitude, hparams)
        with mock.patch.object(auto_augment.random, "random", lambda: 1.0 if negative else 0.0):
            result = operation(result)
    return pixels_of(result)


class GoldenFile:
    def __init__(self, file):
        self.file = file
        self.counts = {}
        self.stored = {}

    def prefix(self, kind):
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        return f"{kind}{number:03d}-"

    def create(self, name, data):
        """Compressed only where that saves space."""
        data = np.asarray(data)
        large = data.size > 500 and data.dtype == np.uint8
        options = {"compression": 9, "chunks": data.shape} if large else {}
        return self.file.create_dataset(name, data=data, **options)

    def rand(self, kind, image, draws):
        prefix = self.prefix(kind)
        if id(image) not in self.stored:
            self.stored[id(image)] = (self.create(prefix + "image", image), image)
        else:
            self.file[prefix + "image"] = self.stored[id(image)][0]
        self.create(prefix + "parameters", np.array(draws, dtype=np.float64).reshape(-1))
        self.create(prefix + "expected", operated(image, draws))

    def erase(self, image):
        prefix = self.prefix("erase")
        uniforms, noises = [], []
        uniform = random_erasing.random.uniform
        get_pixels = random_erasing._get_pixels

        def recorded_uniform(low, high):
            uniforms.append(uniform(low, high))
            return uniforms[-1]

        def recorded_pixels(*arguments, **options):
            noises.append(get_pixels(*arguments, **options))
            return noises[-1]

        erasing = random_erasing.RandomErasing(1.0, mode="pixel", max_count=1, device="cpu")
        result = torch.from_numpy(image.copy())
        with (
            mock.patch.object(random_erasing.random, "uniform", recorded_uniform),
            mock.patch.object(random_erasing, "_get_pixels", recorded_pixels),
        ):
            erasing(result)
        area = image.shape[1] * image.shape[2]
        top, left = (int(values.min()) for values in np.nonzero(result[0].numpy() != image[0]))
        # Each attempt draws area and aspect; the last one was taken.
        parameters = [uniforms[-2], uniforms[-1], top, left]
        self.create(prefix + "image", image)
        self.create(prefix + "parameters", np.array(parameters))
        self.create(prefix + "noise", noises[0].numpy())
        self.create(prefix + "expected", result.numpy())
        print(f"{prefix} erases {noises[0].shape} of {area}")

    def mix(self, rng, shape, classes, smoothing, cutmix):
        prefix = self.prefix("mix")
        betas, centres = [], []
        beta, randint = np.random.beta, np.random.randint

        def recorded_beta(*arguments):
            betas.append(beta(*arguments))
            return betas[-1]

        def recorded_randint(*arguments, **options):
            centres.append(randint(*arguments, **options))
            return centres[-1]

        mix = mixup.Mixup(
            0.8, 1.0, switch_prob=1.0 if cutmix else 0.0, label_smoothing=smoothing,
            num_classes=classes,
        )
        images = rng.standard_normal(shape).astype(np.float32)
        labels = rng.integers(0, classes, shape[0])
        mixed = torch.from_numpy(images.copy())
        lambdas = []
        mixup_target = mixup.mixup_target

        def recorded_target(target, num_classes, lam, *rest):
            lambdas.append(lam)
            return mixup_target(target, num_classes, lam, *rest)

        with (
            mock.patch.object(np.random, "beta", recorded_beta),
            mock.patch.object(np.random, "randint", recorded_randint),
            mock.patch.object(mixup, "mixup_target", recorded_target),
        ):
            mixed, targets = mix(mixed, torch.from_numpy(labels))
        logits = torch.tensor(3 * rng.standard_normal((shape[0], classes)), dtype=torch.float32)
        logits.requires_grad_(True)
        loss = SoftTargetCrossEntropy()(logits, targets)
        loss.backward()
        row, column = centres if cutmix else (0, 0)
        parameters = [int(cutmix), betas[0], row, column, lambdas[0], smoothing, loss.item()]
        self.create(prefix + "image", images)
        self.create(prefix + "expected", mixed.numpy())
        self.create(prefix + "labels", labels.astype(np.int32))
        self.create(prefix + "targets", targets.numpy())
        self.create(prefix + "logits", logits.detach().numpy())
        self.create(prefix + "gradient", logits.grad.numpy())
        self.create(prefix + "parameters", np.array(parameters, dtype=np.float64))


def pictures(rng):
    folder = pathlib.Path(importlib.util.find_spec("skimage").origin).parent / "data"

    def piece(name, top, left, height, width):
        image = np.asarray(Image.open(folder / name).convert("RGB"))
        return np.ascontiguousarray(image[top : top + 3 * height : 3, left : left + 3 * width : 3])

    colour = piece("astronaut.png", 20, 150, 27, 22)
    gray = np.ascontiguousarray(piece("chelsea.png", 90, 120, 20, 23)[:, :, 1:2])
    noise = rng.integers(0, 256, (16, 17, 3), dtype=np.uint8)
    flat = np.full((9, 9, 3), 77, dtype=np.uint8)
    flat[:, 4:, 0] = 90
    return colour, gray, noise, flat


def main():
    if int(PIL.__version__.split(".")[0]) >= 13:
        sys.exit(f"Pillow {PIL.__version__} was not tried; install pillow<13")
    if importlib.util.find_spec("skimage") is None:
        sys.exit("scikit-image is missing, whose pictures are used; install scikit-image")
    parser = argparse.ArgumentParser()
    default = pathlib.Path(__file__).resolve().parents[2] / "Tests/Golden/augmentations.h5"
    parser.add_argument("--output", type=pathlib.Path, default=default)
    arguments = parser.parse_args()
    rng = np.random.default_rng(20260102)
    random_erasing.random.seed(3)
    np.random.seed(4)
    torch.manual_seed(5)
    with h5py.File(arguments.output, "w", libver=("v110", "v110")) as file:
        golden = GoldenFile(file)
        colour, gray, noise, flat = pictures(rng)
        for number in range(len(NAMES)):
            for image, magnitude, negative in [
                (colour, 9.0, number % 2 == 0), (gray, rng.uniform(7, 10), number % 2 == 1),
                (noise, 10.0, number % 2 == 1), (flat, rng.uniform(0, 8), number % 2 == 0),
            ]:
                golden.rand("rand", image, [(number, magnitude, negative)])
        for _ in range(10):
            draws = [
                (int(rng.integers(15)), min(10, rng.normal(9, 0.5)), bool(rng.integers(2)))
                for _ in range(2)
            ]
            golden.rand("twice", [colour, gray][int(rng.integers(2))], draws)
        for size, channels in [(9, 1), (12, 3), (7, 3)]:
            golden.erase(rng.standard_normal((channels, size, size)).astype(np.float32))
        golden.mix(rng, (4, 1, 6, 5), 7, 0.1, cutmix=False)
        golden.mix(rng, (2, 3, 5, 5), 12, 0.0, cutmix=False)
        golden.mix(rng, (4, 3, 7, 6), 5, 0.1, cutmix=True)
        golden.mix(rng, (6, 1, 8, 8), 10, 0.2, cutmix=True)
        golden.mix(rng, (2, 2, 5, 9), 3, 0.0, cutmix=True)
    print(
        f"{arguments.output}: {golden.counts}, {arguments.output.stat().st_size} bytes; "
        f"timm {timm.__version__}, Pillow {PIL.__version__}"
    )


if __name__ == "__main__":
    main()
