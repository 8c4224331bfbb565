"""ICC profiles of other colours than sRGB, built from their numbers (ICC.1:2001-04)."""

import struct
from itertools import product

D50 = (0.9642, 1.0, 0.8249)
# Red, green and blue as CIE XYZ, adapted to D50.
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
PRO_PHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def rgb_profile(primaries: tuple[tuple[float, ...], ...], gamma: float = 2.2) -> bytes:
    """A profile of a screen with these primaries."""
    tags = {name: _xyz(values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def srgb_profile() -> bytes:
    """SRGB as other programs write it: its curve as a table."""
    levels = [level / 1023 for level in range(1024)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
    table = struct.pack(">4sII", b"curv", 0, 1024) + b"".join(
        struct.pack(">H", round(65535 * v)) for v in linear
    )
    tags = {name: _xyz(values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), SRGB, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), table))


def grey_profile(gamma: float) -> bytes:
    """A grey scale of this gamma; 1 is linear."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A press that prints its inks over one another on white paper: a table of 5 steps an ink, to Lab."""
    steps, identity = 5, bytes(range(256))
    head = struct.pack(
        ">4sIBBBx9i", b"mft1", 0, 4, 3, steps, *(65536 * n for n in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    )
    table = bytearray()
    for cyan, magenta, yellow, black in product(range(steps), repeat=4):
        inks = [ink / (steps - 1) for ink in (cyan, magenta, yellow)]
        light = [(1 - 0.9 * ink) * (1 - 0.95 * black / (steps - 1)) for ink in inks]
        table += bytes(_lab8(light))
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": head + identity * 4 + bytes(table) + identity * 3})


def _lab8(light: list[float]) -> list[int]:
    """Linear light of sRGB's primaries as Lab of 8 bits."""
    xyz = [sum(light[n] * SRGB[n][axis] for n in range(3)) / D50[axis] for axis in range(3)]
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    lab = (116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128
    return [min(255, max(0, round(v))) for v in lab]


def _xyz(values: tuple[float, ...]) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(65536 * value) for value in values))


def _curve(gamma: float) -> bytes:
    return struct.pack(">4sIIH2x", b"curv", 0, 1, round(256 * gamma))


def _text(name: bytes, text: bytes) -> bytes:
    if name == b"desc":
        return struct.pack(">4sII", name, 0, len(text) + 1) + text + bytes(1 + 8 + 3 + 67)
    return name + bytes(4) + text + b"\0"


def _profile(kind: bytes, colours: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text(b"desc", b"made for a test"), b"cprt": _text(b"text", b"none"), **tags}
    tags[b"wtpt"] = _xyz(D50)
    position, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, position + len(body), len(data))
        body += padded
    head = struct.pack(
        ">I4sI4s4s4s6H4s4sI4s4sQI3i4s44x",
        position + len(body),
        b"none",
        0x02400000,
        kind,
        colours,
        connection,
        *(2020, 1, 1, 0, 0, 0),
        b"acsp",
        bytes(4),
        0,
        bytes(4),
        bytes(4),
        0,
        0,
        *(round(65536 * value) for value in D50),
        bytes(4),
    )
    return head + struct.pack(">I", len(tags)) + table + body
