#!/usr/bin/env python3
"""Makes Tests/Golden/decoder.h5: picture files and their pixels by Pillow, for ImageDecoderTests.

Usage: make-decoder-golden.py [OUTPUT]        needs: numpy, h5py, Pillow with libjpeg-turbo

Each picture has one or two datasets, all UInt8:
  NAME-file      the content of a JPEG or PNG file
  NAME-expected  [height, width, channels], what Pillow makes of it, turned as EXIF says
Names that begin with "part-" have no expected pixels: tests compare parts of them with the whole.
Datasets of the reduced size 1/D, by Pillow's draft mode: NAME-reduced-D, and NAME-gray-D for the
brightness alone. encoder-pixels is what Pillow wrote encoder-file from, at quality 83.
"""

import io
import pathlib
import struct
import sys
import zlib

import h5py
import numpy as np
from PIL import Image, ImageOps


def scene(width, height, channels=3):
    """Waves, sharp edges and a little noise: chroma upsampling and all frequencies matter."""
    rng = np.random.default_rng(width * 1000 + height)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for channel in range(channels):
        plane = 127 + 100 * np.sin(x / (3.0 + channel) + channel) * np.cos(y / (5.0 - channel / 2))
        plane[height // 3 : height // 2, width // 4 : width // 2] = 255 * (channel % 2)
        planes.append(plane + rng.normal(0, 6, plane.shape))
    pixels = np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)
    return pixels[:, :, 0] if channels == 1 else pixels


def jpeg(pixels, mode=None, **options):
    output = io.BytesIO()
    Image.fromarray(pixels, mode).save(output, "JPEG", **{"quality": 85, **options})
    return output.getvalue()


def segment(data, marker):
    """Begin and end of the first segment with a marker."""
    begin = data.index(bytes([0xFF, marker]))
    return begin, begin + 2 + struct.unpack(">H", data[begin + 2 : begin + 4])[0]


def exif(orientation, order, kind=3):
    """A TIFF structure with another tag before that of the orientation."""
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *([orientation, 0][: 5 - kind]))
    entries = struct.pack(order + "HHI", 0x0100, 4, 1) + struct.pack(order + "I", 19)
    entries += struct.pack(order + "HHI", 0x0112, kind, 1) + value
    head = b"II*\0" if order == "<" else b"MM\0*"
    head += struct.pack(order + "I", 8)
    return b"Exif\0\0" + head + struct.pack(order + "H", 2) + entries + bytes(4)


def chunk(name, content):
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def png(rows, width, height, depth, kind, interlaced=False, before=b""):
    """A PNG by hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def interlaced_rows(pixels):
    """Rows of the seven passes of Adam7 (PNG specification, section 8.2)."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)]  # fmt: skip
    for top, left, down, right in passes:
        part = pixels[top::down, left::right]
        yield from (row.tobytes() for row in part if row.size)


def pillow_png(image, **options):
    output = io.BytesIO()
    image.save(output, "PNG", **options)
    return output.getvalue()


def jpeg_cases():
    colour = scene(35, 27)
    yield "gray", jpeg(scene(37, 29, 1))
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        yield name, jpeg(colour, subsampling=subsampling)
    yield "progressive", jpeg(colour, progressive=True)
    yield "rgb", jpeg(colour, keep_rgb=True)
    yield "one-pixel", jpeg(colour[:1, :1])
    cmyk = jpeg(scene(35, 27, 4), "CMYK")
    yield "cmyk", cmyk
    begin, end = segment(cmyk, 0xEE)
    yield "cmyk-unmarked", cmyk[:begin] + cmyk[end:]
    # The last byte of Adobe's segment says that the same data are YCCK.
    yield "ycck", cmyk[: end - 1] + b"\x02" + cmyk[end:]
    small = scene(19, 13)
    for orientation in range(1, 9):
        order, kind = "<>"[orientation % 2], 4 if orientation == 6 else 3
        yield f"orientation-{orientation}", jpeg(small, exif=exif(orientation, order, kind))
    yield "orientation-9", jpeg(small, exif=exif(9, "<"))


def png_cases():
    colour = scene(21, 17)
    image = Image.fromarray(colour)
    rgba = np.dstack([colour, np.where(colour[:, :, 0] > 99, 255, 0).astype(np.uint8)])
    palette = image.quantize(16)
    yield "png-colour", pillow_png(image)
    yield "png-gray", pillow_png(Image.fromarray(scene(21, 17, 1)))
    yield "png-bits", pillow_png(Image.fromarray(scene(21, 17, 1)).convert("1"))
    yield "png-palette", pillow_png(palette)
    yield "png-palette-transparent", pillow_png(palette, transparency=3)
    yield "png-alpha", pillow_png(Image.fromarray(rgba, "RGBA"))
    yield "png-gray-alpha", pillow_png(Image.fromarray(rgba[:, :, 2:].copy(), "LA"))
    yield "png-interlaced", png(interlaced_rows(colour), 21, 17, 8, 2, interlaced=True)


def relabelled(data, factors, width, height):
    """The same blocks laid out otherwise, which Pillow does not write: a wild but valid picture.

    factors: horizontal x 16 + vertical sampling factor of the first component; blocks of a unit
    and units of the picture have to stay as many.
    """
    begin, _ = segment(data, 0xC0)
    size = struct.pack(">HH", height, width)
    result = data[: begin + 5] + size + data[begin + 9 :]
    return result[: begin + 11] + bytes([factors]) + result[begin + 12 :]


def part_cases():
    colour = scene(131, 99)
    options = {"quality": 60}
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        yield f"part-{name}", jpeg(colour, subsampling=subsampling, **options)
        yield f"part-progressive-{name}", jpeg(
            colour, subsampling=subsampling, progressive=True, **options)
    yield "part-440", relabelled(jpeg(colour, subsampling=1, **options), 0x12, 99, 131)
    yield "part-411", relabelled(jpeg(colour, subsampling=2, **options), 0x41, 200, 70)
    yield "part-gray", jpeg(scene(131, 99, 1), **options)
    yield "part-restart", jpeg(colour, restart_marker_blocks=5, **options)
    yield "part-cmyk", jpeg(scene(67, 51, 4), "CMYK", **options)


def expected(data):
    """On white where transparent, colour unless the file is gray."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert(
            "L" if image.mode == "LA" else "RGB")
    if image.mode == "1":
        image = image.convert("L")
    pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    return pixels.reshape(pixels.shape[0], pixels.shape[1], -1)


def drafts(file, name, data):
    for denominator in [2, 4, 8]:
        for kind, mode in [("reduced", "RGB"), ("gray", "L")]:
            image = Image.open(io.BytesIO(data))
            image.draft(mode, (image.width // denominator, image.height // denominator))
            pixels = np.asarray(image).reshape(image.height, image.width, -1)
            write(file, f"{name}-{kind}-{denominator}", pixels)


def sixteen_bits(file):
    """Pillow cannot reduce these; the PNG specification says how: the nearest of 255ths."""
    rng = np.random.default_rng(16)
    for name, kind, channels in [("png-gray-16", 0, 1), ("png-colour-16", 2, 3)]:
        pixels = rng.integers(0, 65536, (7, 9, channels))
        rows = [row.astype(">u2").tobytes() for row in pixels]
        write(file, f"{name}-file", np.frombuffer(png(rows, 9, 7, 16, kind), np.uint8))
        write(file, f"{name}-expected", np.round(pixels * 255 / 65535).astype(np.uint8))


def write(file, name, values):
    # The bookkeeping of a compressed dataset takes 2 KB.
    file.create_dataset(name, data=values, compression="gzip" if values.size > 6000 else None)


def main():
    default = pathlib.Path(__file__).resolve().parents[2] / "Tests/Golden/decoder.h5"
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    with h5py.File(output, "w", libver=("earliest", "v110")) as file:
        for name, data in [*jpeg_cases(), *png_cases()]:
            write(file, f"{name}-file", np.frombuffer(data, np.uint8))
            write(file, f"{name}-expected", expected(data))
        for name, data in part_cases():
            write(file, f"{name}-file", np.frombuffer(data, np.uint8))
            if name == "part-420":
                drafts(file, name, data)
        sixteen_bits(file)
        pixels = scene(35, 27)
        write(file, "encoder-pixels", pixels)
        data = jpeg(pixels, quality=83)
        write(file, "encoder-file", np.frombuffer(data, np.uint8))
        count = len(file)
    print(f"{output}: {count} datasets, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
