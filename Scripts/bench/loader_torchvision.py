"""A plain torchvision loader for class folders, for comparison with `cae-dist bench loader`.

Same work: decode, random resized crop (bicubic, antialiased), flip, normalize, collate batches of
64. Prints one JSON object: `imagesPerSecond` of the loader with its workers, started before, and
`decodesPerSecond`, one thread's rate of decoding alone, from memory.
"""

import argparse
import io
import json
import math
import time

import torch
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode

MEAN, STANDARD_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREFETCH = 2  # batches a worker loads ahead, DataLoader's default


def one_thread(_worker=None):
    torch.set_num_threads(1)


def transform_for(image_size):
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(
                image_size, scale=(0.08, 1), interpolation=InterpolationMode.BICUBIC
            ),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STANDARD_DEVIATION),
        ]
    )


def loading_rate(options):
    """Images/s of `options.images`, with as many batches under way at the end as at the start."""
    dataset = ImageFolder(options.folder, transform_for(options.image_size))
    ahead = PREFETCH * options.workers
    counted = math.ceil(options.images / options.batch)
    sampler = RandomSampler(dataset, num_samples=(2 * ahead + counted) * options.batch)
    batches = iter(
        DataLoader(
            dataset,
            batch_size=options.batch,
            sampler=sampler,
            num_workers=options.workers,
            prefetch_factor=PREFETCH,
            worker_init_fn=one_thread,
        )
    )
    for _ in range(ahead):
        next(batches)
    started = time.perf_counter()
    loaded = sum(len(next(batches)[0]) for _ in range(counted))
    return loaded / (time.perf_counter() - started)


def decoding_rate(folder, images):
    paths = [path for path, _ in ImageFolder(folder).samples]
    step = max(1, len(paths) // images)
    files = [open(path, "rb").read() for path in paths[::step][:images]]
    started = time.perf_counter()
    for file in files:
        Image.open(io.BytesIO(file)).convert("RGB").load()
    return len(files) / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--decodes", type=int, default=500)
    options = parser.parse_args()
    one_thread()
    torch.manual_seed(0)
    rate = loading_rate(options)
    decodes = decoding_rate(options.folder, options.decodes)
    print(json.dumps({"imagesPerSecond": rate, "decodesPerSecond": decodes}))


if __name__ == "__main__":
    main()
