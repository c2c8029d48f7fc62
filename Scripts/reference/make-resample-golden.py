#!/usr/bin/env python3
"""Makes Tests/Golden/resample.h5: crops resized by Pillow, for ResampleTests.

Usage: make-resample-golden.py [OUTPUT]        needs: numpy, h5py, Pillow < 13

From Pillow 13 on, a resize that mostly shrinks the height runs its vertical pass first, which
rounds differently. The pictures that published models were trained on come from earlier ones.

Each case NN has three datasets:
  caseNN-image       UInt8 [height, width, channels], the input
  caseNN-parameters  Int32 [8]: left, top, width, height of the box; 1 if mirrored before the
                     crop; width and height of the result; filter (0 bicubic, 1 lanczos)
  caseNN-expected    UInt8 [height, width, channels], what Pillow gives
"""

import pathlib
import sys

import h5py
import numpy as np
import PIL
from PIL import Image

FILTERS = [Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


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


def resize(image, box, flipped, size, kind):
    if flipped:
        image = image[:, ::-1]
    left, top, width, height = box
    crop = np.ascontiguousarray(image[top : top + height, left : left + width])
    mode_less = crop[:, :, 0] if crop.shape[2] == 1 else crop
    result = np.asarray(Image.fromarray(mode_less).resize(size, FILTERS[kind]))
    return result.reshape(size[1], size[0], crop.shape[2])


def cases():
    rng = np.random.default_rng(20260101)
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
    ]
    for maker, shape, box, flipped, size in table:
        image = maker(rng, *shape)
        box = box or (0, 0, shape[1], shape[0])
        for kind in range(len(FILTERS)):
            yield image, box, flipped, size, kind


def main():
    if int(PIL.__version__.split(".")[0]) >= 13:
        sys.exit(f"Pillow {PIL.__version__} resizes in another order; install pillow<13")
    default = pathlib.Path(__file__).resolve().parents[2] / "Tests/Golden/resample.h5"
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    with h5py.File(output, "w", libver=("earliest", "v110")) as file:
        count = 0
        for image, box, flipped, size, kind in cases():
            prefix = f"case{count:02d}-"
            parameters = np.array([*box, int(flipped), *size, kind], dtype=np.int32)
            expected = resize(image, box, flipped, size, kind)
            file.create_dataset(prefix + "image", data=image)
            file.create_dataset(prefix + "parameters", data=parameters)
            file.create_dataset(prefix + "expected", data=expected)
            count += 1
    print(f"{output}: {count} cases, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
