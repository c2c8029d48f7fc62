#!/usr/bin/env python3
"""Makes Tests/Golden/resample.h5: what Pillow makes of images, for ResampleTests and
ColorJitterTests.

Usage: make-resample-golden.py [--photos FOLDER] [--output FILE]
       needs: numpy, h5py, Pillow < 13, and the sample pictures of scikit-image

From Pillow 13 on, a resize that mostly shrinks the height runs its vertical pass first, which
rounds differently. The pictures that published models were trained on come from earlier ones.

With --photos: cases of every photograph in a folder instead (boxes as in pretraining, bicubic 224
and Lanczos 112, and the middle 224 of 256), for CAE_RESAMPLE_GOLDEN of PhotographTests.

Each case has three datasets, PREFIX-image, PREFIX-parameters and PREFIX-expected; images are UInt8
[height, width, channels], parameters Float64:
  resizeNNN  left, top, width, height of the box; 1 if mirrored before the crop; width and height of
             the result; filter (0 bicubic, 1 lanczos)
  middleNNN  size; share of the shorter side that it takes; filter
  jitterNNN  factors of brightness, contrast and saturation; their order as numbers 0, 1, 2
"""

import argparse
import importlib.util
import math
import pathlib
import sys

import h5py
import numpy as np
import PIL
from PIL import Image, ImageEnhance

FILTERS = [Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
BICUBIC, LANCZOS = range(2)
ENHANCERS = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]


def noise(rng, height, width, channels):
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(rng, height, width, channels):
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        127.5 + 127.5 * np.sin(rng.uniform(0.05, 0.4) * x + phase) * np.cos(rng.uniform(0.05, 0.4) * y)
        for phase in rng.uniform(0, 6.28, channels)
    ]
    return np.round(np.stack(planes, axis=-1)).astype(np.uint8)


def edges(rng, height, width, channels):
    image = np.zeros((height, width, channels), dtype=np.uint8)
    image[height // 3 :, width // 4 : width // 2] = 255
    image[:, -1] = 200
    return image


def picture(pixels):
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def pixels_of(image):
    result = np.asarray(image)
    return result if result.ndim == 3 else result[:, :, np.newaxis]


def resize(image, box, flipped, size, kind):
    """The pixels that the box touches, cut out and resized; edges of a box may lie inside pixels."""
    if flipped:
        image = image[:, ::-1]
    left, top, width, height = box
    right, bottom = math.ceil(left + width), math.ceil(top + height)
    x, y = math.floor(left), math.floor(top)
    crop = picture(np.ascontiguousarray(image[y:bottom, x:right]))
    inner = (left - x, top - y, left - x + width, top - y + height)
    return pixels_of(crop.resize(size, FILTERS[kind], box=inner))


def middle(image, size, share, kind):
    """torchvision's Resize(int(size / share)) and CenterCrop(size)."""
    height, width = image.shape[:2]
    short = int(size / share)
    if width <= height:
        new_width, new_height = short, int(short * height / width)
    else:
        new_width, new_height = int(short * width / height), short
    resized = pixels_of(picture(image).resize((new_width, new_height), FILTERS[kind]))
    top = int(round((new_height - size) / 2.0))
    left = int(round((new_width - size) / 2.0))
    return resized[top : top + size, left : left + size]


def jitter(image, factors, order):
    """torchvision's ColorJitter without hue, on a Pillow image."""
    result = picture(image)
    for number in order:
        result = ENHANCERS[number](result).enhance(factors[number])
    return pixels_of(result)


class GoldenFile:
    def __init__(self, file):
        self.file = file
        self.counts = {}
        self.stored = {}

    def add(self, kind, image, parameters, expected):
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        prefix = f"{kind}{number:03d}-"
        # One copy of an image for all its cases.
        if id(image) in self.stored:
            self.file[prefix + "image"] = self.stored[id(image)][0]
        else:
            data = self.create(prefix + "image", image)
            self.stored[id(image)] = (data, image)
        self.file.create_dataset(prefix + "parameters", data=np.array(parameters, dtype=np.float64))
        self.create(prefix + "expected", expected)

    def create(self, name, image):
        """Compressed in one chunk: many chunks of large ones only take time."""
        small = image.size <= 1 << 16
        options = {"compression": 9, "chunks": image.shape} if small else {}
        return self.file.create_dataset(name, data=image, **options)

    def resize(self, image, box, flipped, size, kind):
        box = box or (0, 0, image.shape[1], image.shape[0])
        expected = resize(image, box, flipped, size, kind)
        self.add("resize", image, [*box, int(flipped), *size, kind], expected)

    def middle(self, image, size, share, kind):
        self.add("middle", image, [size, share, kind], middle(image, size, share, kind))

    def jitter(self, image, factors, order):
        self.add("jitter", image, [*factors, *order], jitter(image, factors, order))


def synthetic_cases(golden, rng):
    whole = None
    table = [
        # maker, (height, width, channels), box, flipped, (width, height) of the result
        (noise, (28, 28, 1), whole, False, (32, 32)),
        (noise, (28, 28, 1), (3, 5, 17, 20), True, (28, 28)),
        (smooth, (28, 28, 1), (0, 0, 9, 8), False, (16, 16)),
        (noise, (40, 32, 3), (1, 2, 30, 37), True, (16, 16)),
        (smooth, (47, 61, 3), (11, 3, 41, 44), False, (48, 48)),
        (edges, (47, 61, 3), whole, True, (20, 15)),
        (smooth, (96, 96, 3), whole, False, (14, 14)),
        (noise, (33, 35, 3), (4, 0, 31, 33), False, (31, 8)),
        (edges, (5, 7, 1), whole, False, (24, 24)),
        (noise, (1, 6, 3), whole, False, (4, 4)),
        (noise, (64, 64, 1), whole, False, (1, 1)),
        (noise, (33, 35, 3), (4.25, 0.5, 27.125, 31.75), False, (21, 24)),
        (smooth, (28, 28, 1), (0.375, 3.875, 25.5, 9.25), True, (32, 16)),
    ]
    for maker, shape, box, flipped, size in table:
        image = maker(rng, *shape)
        for kind in range(len(FILTERS)):
            golden.resize(image, box, flipped, size, kind)
    gray = noise(rng, 15, 17, 1)
    golden.jitter(gray, [1.3, 0.7, 1.2], [1, 2, 0])
    golden.jitter(gray, [0.0, 2.0, 0.0], [2, 1, 0])
    colours = noise(rng, 13, 11, 3)
    for factors in [[1.4, 1.4, 1.4], [0.6, 0.6, 0.6], [1.0, 1.0, 1.0], [2.0, 0.0, 2.0]]:
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]]:
            golden.jitter(colours, factors, order)


def photograph_cases(golden, rng, folder):
    """Small pieces of pictures in the public domain or under CC0."""
    pieces = [("astronaut.png", 20, 150), ("chelsea.png", 90, 120), ("coffee.png", 60, 240)]
    for name, top, left in pieces:
        image = np.asarray(Image.open(folder / name).convert("RGB"))[top : top + 72, left : left + 84]
        image = np.ascontiguousarray(image)
        golden.resize(image, (7, 5, 71, 61), True, (48, 48), BICUBIC)
        golden.resize(image, (7, 5, 71, 61), True, (24, 24), LANCZOS)
        golden.resize(image, (40, 21, 37, 45), False, (48, 48), BICUBIC)
        golden.resize(image, (40, 21, 37, 45), False, (24, 24), LANCZOS)
        golden.middle(image, 28, 0.875, BICUBIC)
        golden.middle(image, 31, 1.0, BICUBIC)
        golden.middle(np.ascontiguousarray(image[::2, 0:71:3]), 15, 0.9, LANCZOS)
        small = np.ascontiguousarray(image[::3, ::3])
        for _ in range(2):
            golden.jitter(small, rng.uniform(0.6, 1.4, 3), rng.permutation(3))


def pretraining_box(rng, width, height):
    while True:
        area = rng.uniform(0.08, 1) * width * height
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if w <= width and h <= height:
            return (int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h)


def folder_cases(golden, rng, folder):
    Image.MAX_IMAGE_PIXELS = None
    for path in sorted(folder.iterdir()):
        image = np.asarray(Image.open(path).convert("RGB"))
        for number in range(4):
            box = pretraining_box(rng, image.shape[1], image.shape[0])
            golden.resize(image, box, number % 2 == 1, (224, 224), BICUBIC)
            golden.resize(image, box, number % 2 == 1, (112, 112), LANCZOS)
        golden.middle(image, 224, 0.875, BICUBIC)
        golden.jitter(image, rng.uniform(0.6, 1.4, 3), rng.permutation(3))


def main():
    if int(PIL.__version__.split(".")[0]) >= 13:
        sys.exit(f"Pillow {PIL.__version__} resizes in another order; install pillow<13")
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=pathlib.Path)
    default = pathlib.Path(__file__).resolve().parents[2] / "Tests/Golden/resample.h5"
    parser.add_argument("--output", type=pathlib.Path, default=default)
    arguments = parser.parse_args()
    rng = np.random.default_rng(20260101)
    with h5py.File(arguments.output, "w", libver=("v110", "v110")) as file:
        golden = GoldenFile(file)
        if arguments.photos:
            folder_cases(golden, rng, arguments.photos)
        else:
            samples = importlib.util.find_spec("skimage")
            if samples is None:
                sys.exit("scikit-image is missing, whose pictures are used; install scikit-image")
            synthetic_cases(golden, rng)
            photograph_cases(golden, rng, pathlib.Path(samples.origin).parent / "data")
    print(f"{arguments.output}: {golden.counts}, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
