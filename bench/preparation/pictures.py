"""A mixed set of pictures: formats, modes, profiles, orientations, depths and sizes.

Each comes with what a viewer shows of it: its pixels decoded at full size, converted through its profile, and
turned by numpy.
"""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw

from bench.preparation.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PRO_PHOTO,
    cmyk_profile,
    grey_profile,
    rgb_profile,
    srgb_profile,
)

Pixels = NDArray[Any]
PHOTOS = Path(__file__).parents[2] / "photos"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
SMALL, LARGE = (360, 241), (2399, 1601)
SIZES = [
    (333, 777),
    (1998, 1500),
    (1999, 1333),
    (2000, 1501),
    (2001, 1333),
    (2399, 1601),
    (3001, 2003),
    (3998, 2666),
]
SIZES += [(3999, 2667), (4001, 2667), (4750, 3163), (5003, 3337), (6001, 4001), (8005, 5333)]
RGB_PROFILES = {
    "Adobe RGB": rgb_profile(ADOBE_RGB),
    "Display P3": rgb_profile(DISPLAY_P3),
    "ProPhoto": rgb_profile(PRO_PHOTO, 1.8),
    "linear": rgb_profile(ADOBE_RGB, 1.0),
}
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:{0}="http://ns.adobe.com/tiff/1.0/"{1}>{2}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


@dataclass(frozen=True)
class Case:
    """A picture as a file, and what is to be seen of it: upright sRGB pixels at its full size."""

    name: str
    data: bytes
    shown: Callable[[], Image.Image]


def scene(size: tuple[int, int]) -> Image.Image:
    """A photo with patches of saturated colours, lettering and a border of one pixel on top."""
    photos = sorted(PHOTOS.glob("*.jpg"))
    with Image.open(photos[sum(size) % len(photos)]) as photo:
        image = photo.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    width, height = size
    for number, colour in enumerate(
        ["red", "lime", "blue", "cyan", "magenta", "yellow", "white", "black", "gray"]
    ):
        left = width * number // 12
        draw.rectangle((left, height // 8, left + width // 16, height // 5), fill=colour)
    draw.text((width // 10, height // 2), "size 42, 100% wool", fill="black", font_size=max(12, height // 20))
    draw.rectangle((0, 0, width - 1, height - 1), outline="black")
    draw.ellipse(
        (width * 3 // 4, height * 3 // 4, width - 9, height - 9), outline="red", width=max(1, width // 200)
    )
    return image


def cases(sizes: Callable[[tuple[int, int]], bool] = lambda _: True) -> Iterator[Case]:
    """The whole set, or the pictures of the sizes wanted."""
    for make in (_of_all_sizes, _in_other_modes, _with_profiles, _turned, _of_many_bits, _of_phones):
        yield from make(sizes)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def seen(data: bytes, profile: bytes | None, orientation: int = 1, *, mode: str | None = None) -> Image.Image:
    """The pixels of a file as they are to be seen; of `mode`, if that is not the file's own."""
    image = decoded(data)
    return turned(in_srgb(image.convert(mode) if mode else image, profile), orientation)


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Through the profile; alpha is kept."""
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    image = image.convert(
        {"RGBA": "RGB", "LA": "L", "1": "L", "P": "RGB", "YCbCr": "RGB"}.get(image.mode, image.mode)
    )
    if profile:
        read = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, read, SRGB, outputMode="RGB")
        assert converted is not None
        image = converted
    image = image.convert("RGB")
    if alpha is not None:
        image.putalpha(alpha)
    return image


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """As a viewer turns the pixels of a file of this orientation."""
    pixels = np.asarray(image)
    if orientation in (2, 3):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4):
        pixels = pixels[::-1]
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (7, 8):
        pixels = pixels[::-1]
    return Image.fromarray(np.ascontiguousarray(pixels))


def xmp_of(orientation: int, prefix: str = "tiff", *, as_element: bool = False) -> bytes:
    attribute = "" if as_element else f' {prefix}:Orientation="{orientation}"'
    element = f"<{prefix}:Orientation>{orientation}</{prefix}:Orientation>" if as_element else ""
    return XMP.format(prefix, attribute, element).encode()


def tiff(
    pixels: Pixels, photometric: int, *, order: str = "<", bits: int = 16, profile: bytes = b""
) -> bytes:
    """A TIFF of one strip, uncompressed, grey or RGB of 16 bits or fewer, as scanners write it."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    strip = pixels.astype(f"{order}u2").tobytes() if bits == 16 else pixels.tobytes()
    tags = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * channels),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", [0]),
        277: ("H", [channels]),
        278: ("I", [height]),
        279: ("I", [len(strip)]),
    }
    if profile:
        tags[34675] = ("B", list(profile))
    place = 8 + 2 + 12 * len(tags) + 4
    directory, extra = struct.pack(order + "H", len(tags)), b""
    bodies = {
        tag: struct.pack(f"{order}{len(values)}{kind}", *values) for tag, (kind, values) in tags.items()
    }
    begin = place + sum(len(body) + len(body) % 2 for body in bodies.values() if len(body) > 4)
    bodies[273] = struct.pack(order + "I", begin)
    for tag, (kind, values) in tags.items():
        body = bodies[tag]
        where = body.ljust(4, b"\0") if len(body) <= 4 else struct.pack(order + "I", place + len(extra))
        extra += body + bytes(len(body) % 2) if len(body) > 4 else b""
        directory += struct.pack(order + "HHI", tag, {"B": 7, "H": 3, "I": 4}[kind], len(values)) + where
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + directory + struct.pack(order + "I", 0) + extra + strip


def _of_all_sizes(sizes: Callable[[tuple[int, int]], bool]) -> Iterator[Case]:
    for size in filter(sizes, SIZES):
        image = scene(size)
        for name, kind, options in [
            ("JPEG 4:4:4", "JPEG", {"quality": 92, "subsampling": 0}),
            ("JPEG 4:2:0", "JPEG", {"quality": 85, "subsampling": 2}),
            ("progressive JPEG", "JPEG", {"quality": 85, "progressive": True}),
        ]:
            data = saved(image, kind, **options)
            yield Case(f"{name} {size}", data, partial(decoded, data))
        data = saved(image, "JPEG", quality=90, icc_profile=RGB_PROFILES["Adobe RGB"])
        yield Case(
            f"Adobe RGB JPEG {size}",
            data,
            partial(seen, data, RGB_PROFILES["Adobe RGB"]),
        )


def _in_other_modes(sizes: Callable[[tuple[int, int]], bool]) -> Iterator[Case]:
    for size in filter(sizes, (SMALL, LARGE)):
        image = scene(size)
        alpha = image.convert("L").point(lambda level: 255 if level > 99 else level)
        rgba = image.copy()
        rgba.putalpha(alpha)
        grey_alpha = image.convert("L")
        grey_alpha.putalpha(alpha)
        palette = image.quantize(200)
        files = {
            "grey JPEG": saved(image.convert("L"), "JPEG", quality=90),
            "CMYK JPEG": saved(image.convert("CMYK"), "JPEG", quality=90),
            "CMYK TIFF": saved(image.convert("CMYK"), "TIFF", compression="tiff_lzw"),
            "RGB PNG": saved(image, "PNG", compress_level=1),
            "RGBA PNG": saved(rgba, "PNG", compress_level=1),
            "grey PNG": saved(image.convert("L"), "PNG", compress_level=1),
            "grey and alpha PNG": saved(grey_alpha, "PNG", compress_level=1),
            "1-bit PNG": saved(image.convert("1"), "PNG"),
            "palette PNG": saved(palette, "PNG"),
            "BMP": saved(image, "BMP"),
            "palette BMP": saved(palette, "BMP"),
            "GIF": saved(palette, "GIF"),
            "WEBP": saved(image, "WEBP", quality=85, method=0),
            "lossless WEBP": saved(rgba, "WEBP", lossless=True, quality=0, method=0),
            "AVIF": saved(image, "AVIF", quality=85, speed=10),
            "LZW TIFF": saved(image, "TIFF", compression="tiff_lzw"),
            "JPEG in TIFF": saved(image, "TIFF", compression="jpeg", quality=92),
            "YCbCr TIFF": saved(image.convert("YCbCr"), "TIFF"),
            "grey and alpha TIFF": saved(grey_alpha, "TIFF"),
            "palette TIFF": saved(palette, "TIFF"),
            "fax TIFF": saved(image.convert("1"), "TIFF", compression="group4"),
        }
        for name, data in files.items():
            yield Case(f"{name} {size}", data, partial(seen, data, None))
        white = 255 - np.asarray(image.convert("L"))
        shown = image.convert("L").convert("RGB")
        for order in "<>":
            yield Case(f"white-is-zero TIFF {order} {size}", tiff(white, 0, order=order, bits=8), shown.copy)


def _with_profiles(sizes: Callable[[tuple[int, int]], bool]) -> Iterator[Case]:
    for size in filter(sizes, (SMALL, LARGE)):
        image = scene(size)
        rgba = image.copy()
        rgba.putalpha(image.convert("L").point(lambda level: 255 if level > 99 else level))
        for name, profile in {**RGB_PROFILES, "sRGB": srgb_profile()}.items():
            for kind, picture, options in [
                ("JPEG", image, {"quality": 90}),
                ("PNG", image, {"compress_level": 1}),
                ("PNG", rgba, {"compress_level": 1}),
                ("WEBP", image, {"quality": 85, "method": 0}),
                ("TIFF", rgba, {}),
                ("AVIF", image, {"quality": 85, "speed": 10}),
            ]:
                data = saved(picture, kind, icc_profile=profile, **options)
                yield Case(
                    f"{name} {picture.mode} {kind} {size}",
                    data,
                    partial(seen, data, profile),
                )
            data = saved(image.quantize(200), "PNG", icc_profile=profile)
            yield Case(f"{name} palette PNG {size}", data, partial(seen, data, profile))
            data = saved(image.convert("L"), "JPEG", quality=90, icc_profile=profile)
            shown = partial(seen, data, profile, mode="RGB")
            yield Case(f"{name} on a grey JPEG {size}", data, shown)
        for gamma in (1.0, 1.8):
            profile = grey_profile(gamma)
            grey = image.convert("L")
            for kind in ("JPEG", "PNG", "TIFF"):
                data = saved(grey, kind, icc_profile=profile)
                yield Case(
                    f"grey of gamma {gamma} {kind} {size}",
                    data,
                    partial(seen, data, profile),
                )
            both = grey.copy()
            both.putalpha(rgba.getchannel("A"))
            data = saved(both, "PNG", icc_profile=profile)
            yield Case(
                f"grey of gamma {gamma} and alpha {size}",
                data,
                partial(seen, data, profile),
            )
        for kind, options in (("JPEG", {"quality": 90}), ("TIFF", {})):
            data = saved(image.convert("CMYK"), kind, icc_profile=cmyk_profile(), **options)
            yield Case(f"CMYK {kind} of a press {size}", data, partial(seen, data, cmyk_profile()))
        broken = saved(image, "WEBP", quality=85, method=0, icc_profile=b"not a profile at all")
        yield Case(f"broken profile {size}", broken, partial(seen, broken, None))


def _turned(sizes: Callable[[tuple[int, int]], bool]) -> Iterator[Case]:
    for size in filter(sizes, (SMALL, LARGE)):
        image = scene(size)
        kinds = {
            "JPEG": {"quality": 90},
            "PNG": {"compress_level": 1},
            "WEBP": {"quality": 85, "method": 0},
            "TIFF": {},
        }
        for kind, options in kinds.items():
            plain = saved(image, kind, **options)
            for orientation in (2, 3, 4, 5, 6, 7, 8) if size == SMALL else (3, 6):
                exif = Image.Exif()
                exif[0x0112] = orientation
                data = saved(image, kind, exif=exif, **options)
                shown = partial(seen, plain, None, orientation)
                yield Case(f"{kind} of orientation {orientation} {size}", data, shown)
            for orientation, prefix, as_element in ((6, "tiff", False), (8, "t", False), (3, "tiff", True)):
                xmp = xmp_of(orientation, prefix, as_element=as_element)
                shown = partial(seen, plain, None, orientation)
                yield Case(
                    f"{kind} of XMP orientation {orientation} {size}",
                    _with_xmp(image, kind, xmp, options),
                    shown,
                )


def _with_xmp(image: Image.Image, kind: str, xmp: bytes, options: dict[str, Any]) -> bytes:
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415 - only here

        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return saved(image, kind, pnginfo=texts, **options)
    if kind == "TIFF":
        return saved(image, kind, tiffinfo={700: xmp}, **options)
    return saved(image, kind, xmp=xmp, **options)


def _of_many_bits(sizes: Callable[[tuple[int, int]], bool]) -> Iterator[Case]:
    for size in filter(sizes, (SMALL, LARGE)):
        grey = np.asarray(scene(size).convert("L"), dtype=np.float64) / 255
        rgb = np.asarray(scene(size), dtype=np.float64) / 255
        grey16, rgb16 = np.round(grey * 65535).astype("u2"), np.round(rgb * 65535).astype("u2")
        shown_grey = Image.fromarray(np.round(grey * 255).astype("u1")).convert("RGB")
        shown_rgb = Image.fromarray(np.round(rgb * 255).astype("u1"))
        for order in "<>":
            yield Case(f"16-bit grey TIFF {order} {size}", tiff(grey16, 1, order=order), shown_grey.copy)
            white = tiff(65535 - grey16, 0, order=order)
            yield Case(f"16-bit white-is-zero TIFF {order} {size}", white, shown_grey.copy)
            yield Case(f"16-bit RGB TIFF {order} {size}", tiff(rgb16, 2, order=order), shown_rgb.copy)
            # Linear light, as sensors and renderers give it: dark tones need the bits.
            linear = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)
            data = tiff(np.round(linear * 65535).astype("u2"), 1, order=order, profile=grey_profile(1.0))
            yield Case(f"16-bit linear grey TIFF {order} {size}", data, shown_grey.copy)
        data = saved(Image.fromarray(grey16), "PNG", compress_level=1)
        yield Case(f"16-bit grey PNG {size}", data, shown_grey.copy)
        data = saved(Image.fromarray(grey16), "TIFF", compression="tiff_lzw")
        yield Case(f"16-bit grey LZW TIFF {size}", data, shown_grey.copy)
        adobe = RGB_PROFILES["Adobe RGB"]
        shown = partial(in_srgb, shown_rgb, adobe)
        yield Case(f"16-bit Adobe RGB TIFF {size}", tiff(rgb16, 2, profile=adobe), shown)


def _of_phones(sizes: Callable[[tuple[int, int]], bool]) -> Iterator[Case]:
    import pillow_heif  # noqa: PLC0415 - an extra

    pillow_heif.register_heif_opener()
    for size in filter(sizes, (SMALL, LARGE)):
        image = scene(size)
        for name, profile in {"sRGB": None, "Display P3": RGB_PROFILES["Display P3"]}.items():
            options = {"icc_profile": profile} if profile else {}
            data = saved(image, "HEIF", quality=90, **options)
            yield Case(f"{name} HEIC {size}", data, partial(seen, data, profile))
            for orientation in (3, 6):
                exif = Image.Exif()
                exif[0x0112] = orientation
                for kind, quality in (("HEIF", {"quality": 90}), ("AVIF", {"quality": 85, "speed": 10})):
                    plain = saved(image, kind, **quality, **options)
                    data = saved(image, kind, exif=exif.tobytes(), **quality, **options)
                    shown = partial(seen, plain, profile, orientation)
                    yield Case(f"{name} {kind} of orientation {orientation} {size}", data, shown)
