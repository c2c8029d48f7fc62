#!/usr/bin/env python3
"""Makes small HDF5 files of images in three layouts that other projects write.

Usage: make-community-shards.py [OUTPUT FOLDER]      golden files, by default in Tests/Golden
       make-community-shards.py OUTPUT --folder FOLDER [--count 600] [--size 64]
needs: numpy, h5py, Pillow

Each file holds the same pictures; without --folder these are 24 synthetic ones of 35 x 27 pixels in
3 classes, one of them a gray JPEG, and their files are named community-*.h5.

  biggan.h5     BigGAN-PyTorch, make_hdf5.py: `imgs` UInt8 [N, 3, H, W] and `labels` Int64 [N],
                chunked, growable; no class names
  fuel.h5       Fuel, ilsvrc2012.hdf5: `encoded_images` variable-length UInt8 [N + T] (JPEG files),
                `targets` Int16 [N, 1], `filenames` 32 bytes [N + T, 1]; attribute `split`, a table
                that names the rows of train, valid and test. The T = 2 test images at the end have
                no target, as there.
  sololearn.h5  solo-learn, convert_imgfolder_to_h5.py: one group a class, in it one UInt8 [bytes]
                dataset a JPEG file, chunked, gzip 9, named as the file
  expected.h5   golden files only: `images` UInt8 [N, H, W, 3] as Pillow decodes the JPEG files,
                `labels` Int32 [N], `filenames` [N], in the order of the first two files;
                `sortedRows` Int32 [N], the rows in order of class and file name (solo-learn's)
  sequences.h5  golden files only, behind a user block: elements of any length, stored in each way;
                byte i of element r is (31 r + 7 i) mod 256, and there are 97 r mod 1009 of them, but
                5000 in element 3 and none, as never written, in 12 to 17
                `contiguous`, `chunked`, `deflated` bytes [20], `texts` strings [20, 1]

With --folder the pictures come from a folder of class folders: their centres as S x S pixels for
BigGAN, the whole of them as JPEG files with a shorter side of 3 S / 2 for the others.
"""

import argparse
import io
import pathlib
from typing import NamedTuple

import h5py
import numpy as np
from PIL import Image

SYNSETS = ["n01440764", "n01443537", "n01484850"]
TEST_IMAGES = 2


class Sample(NamedTuple):
    name: str
    label: int
    jpeg: bytes
    square: np.ndarray  # UInt8 [H, W, 3], what BigGAN's file holds


def encoded(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def decoded(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


# Golden files


def picture(rng, label, width, height):
    """Waves whose direction and colour depend on the class."""
    y, x = np.mgrid[0:height, 0:width]
    angle = label + rng.uniform(-0.3, 0.3)
    wave = np.sin(rng.uniform(0.2, 0.5) * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform(0, 6))
    colour, ground = rng.uniform(-90, 90, 3), rng.uniform(100, 150, 3)
    return np.clip(ground + wave[..., None] * colour, 0, 255).astype(np.uint8)


def synthetic_samples(count=24, width=35, height=27):
    rng = np.random.default_rng(20260102)
    for row in range(count + TEST_IMAGES):
        label = row % len(SYNSETS)
        image = Image.fromarray(picture(rng, label, width, height))
        if row == 5:
            image = image.convert("L")
        # Numbers without leading zeros, as there: the order of the names is not that of the rows.
        name = f"{SYNSETS[label]}_{7 + 31 * row}.JPEG"
        subsampling = ["4:2:0", "4:4:4", "4:2:2"][row // 3 % 3]
        jpeg = encoded(image, quality=90, subsampling=subsampling)
        yield Sample(name, label, jpeg, decoded(jpeg))


# Real images


def files_in_turn(folder, count):
    """`count` files, one of each class folder in turn, with their labels."""
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    left = [sorted(path for path in (folder / name).rglob("*") if path.is_file()) for name in classes]
    rounds = max(map(len, left), default=0)
    turns = ((label, files[i]) for i in range(rounds) for label, files in enumerate(left) if i < len(files))
    return classes, [turn for turn, _ in zip(turns, range(count))]


def resized(image, shorter_side):
    scale = shorter_side / min(image.size)
    return image.resize([max(shorter_side, round(scale * side)) for side in image.size], Image.BICUBIC)


def centre(image, size):
    image = resized(image, size)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def real_samples(files, size):
    for row, (label, path) in enumerate(files):
        image = Image.open(path).convert("RGB")
        jpeg = encoded(resized(image, 3 * size // 2), quality=90)
        yield Sample(f"{row:08d}.JPEG", label, jpeg, centre(image, size))


# Layouts


def create(path):
    return h5py.File(path, "w", libver=("earliest", "v110"))


def write_biggan(path, samples, batch=10):
    """The first batch makes the datasets, each further one makes them longer."""
    with create(path) as file:
        for start in range(0, len(samples), batch):
            part = samples[start : start + batch]
            images = np.stack([sample.square for sample in part]).transpose(0, 3, 1, 2)
            labels = np.array([sample.label for sample in part], dtype=np.int64)
            for name, values in [("imgs", images), ("labels", labels)]:
                shape = values.shape[1:]
                if start == 0:
                    file.create_dataset(
                        name, data=values, maxshape=(len(samples), *shape), chunks=(batch, *shape)
                    )
                else:
                    file[name].resize(start + len(part), axis=0)
                    file[name][start:] = values


def split_table(splits):
    """Fuel's `split` attribute: the rows of each source in each split."""
    sources = sorted({source for rows in splits.values() for source in rows})
    table = np.empty(
        len(splits) * len(sources),
        dtype=[
            ("split", f"S{max(map(len, splits))}"),
            ("source", f"S{max(map(len, sources))}"),
            ("start", np.int64),
            ("stop", np.int64),
            ("indices", h5py.special_dtype(ref=h5py.Reference)),
            ("available", np.bool_),
            ("comment", "S1"),
        ],
    )
    for row, (split, source) in enumerate((a, b) for a in splits for b in sources):
        start, stop = splits[split].get(source, (0, 0))
        available = source in splits[split]
        table[row] = (split.encode(), source.encode(), start, stop, h5py.Reference(), available, b".")
    return table


def write_fuel(path, labelled, unlabelled):
    count, total = len(labelled), len(labelled) + len(unlabelled)
    ranges = {"train": (0, 3 * count // 4), "valid": (3 * count // 4, count), "test": (count, total)}
    sources = ["encoded_images", "targets", "filenames"]
    with create(path) as file:
        file.attrs["split"] = split_table(
            {
                split: {source: rows for source in sources if (split, source) != ("test", "targets")}
                for split, rows in ranges.items()
            }
        )
        vlen = h5py.special_dtype(vlen=np.dtype("uint8"))
        images = file.create_dataset("encoded_images", shape=(total,), dtype=vlen)
        targets = file.create_dataset("targets", shape=(count, 1), dtype=np.int16)
        names = file.create_dataset("filenames", shape=(total, 1), dtype="S32")
        for row, sample in enumerate(labelled + unlabelled):
            images[row] = np.frombuffer(sample.jpeg, dtype=np.uint8)
            names[row] = sample.name.encode("ascii")
            if row < count:
                targets[row] = sample.label


def write_sololearn(path, samples, classes):
    with create(path) as file:
        for label, name in enumerate(classes):
            group = file.create_group(name)
            for sample in samples:
                if sample.label == label:
                    data = np.frombuffer(sample.jpeg, dtype=np.uint8)
                    group.create_dataset(sample.name, data=data, compression="gzip", compression_opts=9)


def write_expected(path, samples):
    rows = sorted(range(len(samples)), key=lambda row: (samples[row].label, samples[row].name))
    with create(path) as file:
        images = np.stack([decoded(sample.jpeg) for sample in samples])
        file.create_dataset("images", data=images, compression="gzip", shuffle=True)
        file.create_dataset("labels", data=np.array([s.label for s in samples], dtype=np.int32))
        file.create_dataset("filenames", data=np.array([s.name.encode() for s in samples]))
        file.create_dataset("sortedRows", data=np.array(rows, dtype=np.int32))


def write_sequences(path, count=20):
    kinds = {"contiguous": {}, "chunked": {"chunks": (6,)}, "deflated": {"compression": "gzip"}}
    with h5py.File(path, "w", libver=("earliest", "v110"), userblock_size=512) as file:
        vlen = h5py.special_dtype(vlen=np.dtype("uint8"))
        texts = file.create_dataset("texts", shape=(count, 1), dtype=h5py.string_dtype())
        datasets = [file.create_dataset(n, shape=(count,), dtype=vlen, **o) for n, o in kinds.items()]
        for row in range(count):
            if 12 <= row < 18:
                continue
            length = 5000 if row == 3 else 97 * row % 1009
            for dataset in datasets:
                dataset[row] = ((31 * row + 7 * np.arange(length)) % 256).astype(np.uint8)
            texts[row, 0] = f"caf\u00e9 {row}" * row


def main():
    golden = pathlib.Path(__file__).resolve().parents[2] / "Tests/Golden"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", nargs="?", type=pathlib.Path, default=golden)
    parser.add_argument("--folder", type=pathlib.Path, help="folder of class folders with images")
    parser.add_argument("--count", type=int, default=600, help="images of --folder")
    parser.add_argument("--size", type=int, default=64, help="side of BigGAN's images")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    if options.folder:
        prefix = ""
        classes, files = files_in_turn(options.folder, options.count + TEST_IMAGES)
        if len(files) <= TEST_IMAGES:
            parser.error(f"{options.folder} has no class folders with at least 3 images")
        samples = list(real_samples(files, options.size))
    else:
        prefix, classes = "community-", SYNSETS
        samples = list(synthetic_samples())
    labelled, unlabelled = samples[:-TEST_IMAGES], samples[-TEST_IMAGES:]

    def path(name):
        return options.output / f"{prefix}{name}.h5"

    write_biggan(path("biggan"), labelled)
    write_fuel(path("fuel"), labelled, unlabelled)
    write_sololearn(path("sololearn"), labelled, classes)
    written = ["biggan", "fuel", "sololearn"]
    if not options.folder:
        write_expected(path("expected"), labelled)
        write_sequences(options.output / "sequences.h5")
        written.append("expected")
    for name in written:
        print(f"{path(name)}: {len(labelled)} images, {path(name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
