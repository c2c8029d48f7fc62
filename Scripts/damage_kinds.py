"""The kinds of damage of Scripts/damage-campaign: to bytes of files, and HDF5 files that lie."""

import binascii
import struct

try:
    import h5py
except ImportError:
    h5py = None


# Functions of the good bytes and a random generator.


def truncated(data, rng):
    return data[: rng.randrange(len(data))]


def flipped(data, places):
    changed = bytearray(data)
    for byte, bit in places:
        changed[byte] ^= 1 << bit
    return bytes(changed)


def bits(data, rng):
    count = rng.randint(1, 8)
    return flipped(data, [(rng.randrange(len(data)), rng.randrange(8)) for _ in range(count)])


def metadata_bits(data, rng):
    """Flips bits close behind a signature of the HDF5 format, where its structures are."""
    starts = [0]
    for signature in [b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"BTHD", b"FRHP", b"\x00\x01\x00\x01"]:
        start = data.find(signature)
        while start >= 0 and len(starts) < 1000:
            starts.append(start)
            start = data.find(signature, start + 1)
    start = rng.choice(starts)
    span = min(128, len(data) - start)
    return flipped(data, [(start + rng.randrange(span), rng.randrange(8)) for _ in range(rng.randint(1, 4))])


def overwritten(data, start, stretch):
    return data[:start] + stretch + data[start + len(stretch) :]


def zeros(data, rng):
    length = min(len(data), rng.choice([16, 512, 4096, 65536]))
    return overwritten(data, rng.randrange(len(data) - length + 1), bytes(length))


def misplaced(data, rng):
    """A block of the file stands in another place too, as after a torn write."""
    length = min(len(data) // 2, rng.choice([512, 4096]))
    source, target = (rng.randrange(len(data) - length + 1) for _ in range(2))
    return overwritten(data, target, data[source : source + length])


def header(data, rng):
    length = min(len(data), rng.choice([1, 8, 16, 48, 96, 512]))
    return overwritten(data, rng.choice([0, 8 * rng.randrange(8)]), rng.randbytes(length))[: len(data)]


DAMAGES = [truncated, bits, metadata_bits, zeros, misplaced, header]


def empty(data, rng):
    return b""


def not_an_image(data, rng):
    return b"<!DOCTYPE html><html><title>404 Not Found</title></html>\n" * rng.randint(1, 50)


def image_end(data):
    """Where the pixels end; what stands behind is not needed to decode them."""
    found = data.rfind(b"IEND" if data.startswith(b"\x89PNG") else b"\xff\xd9")
    return found if found > 0 else len(data)


def truncated_image(data, rng):
    return data[: rng.randrange(2, max(3, image_end(data) * 9 // 10))]


def image_header(data, rng):
    return rng.randbytes(16) + data[16:]


def claims_to_be_huge(data, rng):
    """The header names a size that no memory holds."""
    if data.startswith(b"\x89PNG"):
        part = b"IHDR" + struct.pack(">II", 1 << 20, 1 << 20) + data[24:29]
        return data[:12] + part + struct.pack(">I", binascii.crc32(part)) + data[33:]
    place = 2
    while place + 9 < len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], struct.unpack(">H", data[place + 2 : place + 4])[0]
        if marker in (0xC0, 0xC1, 0xC2):
            return overwritten(data, place + 5, struct.pack(">HH", 65500, 65500))
        place += 2 + length
    return not_an_image(data, rng)


IMAGE_DAMAGES = [
    truncated_image, bits, zeros, image_header, empty, not_an_image, claims_to_be_huge,
]
# What these leave may be an image: no checksum covers the pixels of a JPEG file.
MAY_BE_HARMLESS = {"bits", "zeros"}


def damaged(data, damage, rng):
    """Bytes that differ from the good ones."""
    for _ in range(100):
        result = damage(data, rng)
        if result != data:
            return result
    raise ValueError(f"{damage.__name__} changes nothing")


# Well-formed files that lie: functions that edit an open HDF5 file.


def replace(file, name, **options):
    del file[name]
    file.create_dataset(name, **options)


def set_value(name, index, value):
    def edit(file):
        values = file[name][...]
        values.flat[index] = value
        file[name][...] = values

    return edit


def repeat_first_row(name):
    def edit(file):
        values = file[name][...]
        values[-1] = values[0]
        file[name][...] = values

    return edit


def wrong_type(name):
    def edit(file):
        dataset = file[name]
        kind = "int32" if dataset.dtype.kind in "OSf" else "float32"
        replace(file, name, shape=dataset.shape, dtype=kind)

    return edit


def hostile_to_dataset(name, dataset):
    def links_nowhere(file):
        del file[name]
        file[name] = h5py.SoftLink("/nowhere")

    def is_a_group(file):
        del file[name]
        file.create_group(name)

    yield "missing dataset", lambda file: file.__delitem__(name)
    yield "dangling link", links_nowhere
    yield "group for dataset", is_a_group
    yield "wrong type", wrong_type(name)
    shape, kind = dataset.shape, dataset.dtype
    yield "wrong rank", lambda file: replace(file, name, shape=(*shape, 1), dtype=kind)
    if not shape:
        return
    yield "no rows", lambda file: replace(file, name, shape=(0, *shape[1:]), dtype=kind)
    if shape[0] > 1:
        yield "fewer rows", lambda file: replace(file, name, data=file[name][: shape[0] - 1], dtype=kind)
    small = tuple(1 for _ in shape)
    yield "huge claimed shape", lambda file: replace(
        file, name, shape=(1 << 40, *shape[1:]), dtype=kind, chunks=small)
    if len(shape) == 4:
        yield "huge claimed image", lambda file: replace(
            file, name, shape=(shape[0], 1 << 20, 1 << 20, shape[3]), dtype=kind, chunks=small)


def hostile_to_values(name, dataset):
    last, middle = dataset.size - 1, dataset.size // 2
    lower = name.lower()
    if dataset.size > 1 and dataset.dtype.kind in "iu":
        largest = int((1 << (8 * dataset.dtype.itemsize - 1)) - 1)
        signed = dataset.dtype.kind == "i"
        if "label" in lower or "target" in lower:
            yield "label out of range", set_value(name, middle, largest)
            if signed:
                yield "negative label", set_value(name, middle, -1)
        if "offset" in lower:
            yield "offset past the end", set_value(name, last, int(dataset[last]) + 1)
            yield "offset past the end", set_value(name, middle, largest)
            yield "decreasing offsets", set_value(name, middle, int(dataset[last]) - 1)
            yield "decreasing offsets", set_value(name, last, 0)
            yield "first offset not 0", set_value(name, 0, 1)
            if signed:
                yield "negative offset", set_value(name, middle, -1)
    if dataset.shape and dataset.shape[0] > 1 and "key" in lower:
        yield "duplicate key", repeat_first_row(name)


def hostile(path):
    """(kind, edit) of all lies that can be told with the datasets of this shard."""
    with h5py.File(path) as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        for name in names:
            yield from hostile_to_dataset(name, file[name])
            yield from hostile_to_values(name, file[name])
        for attribute in list(file.attrs):
            yield "missing attribute", lambda file, a=attribute: file.attrs.__delitem__(a)
            yield "wrong attribute", lambda file, a=attribute: file.attrs.__setitem__(a, [1.5, 2.5])
