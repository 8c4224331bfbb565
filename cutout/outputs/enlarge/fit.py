"""Fit of a mask to the picture that was sent: a guided filter over windows of 3x3 cells (He, Sun, Tang 2013).

In each window alpha is fitted as k * colour + b, by luminance rather than by chroma where either would do: a
JPEG has its chroma at half the resolution, so edges are sharper in luminance. Windows of 3x3 cells at the
sent size contain two colours where a larger window, or a window at full size, contains others too, and lets
thin things vanish.
"""

import numpy as np

from cutout.outputs.enlarge.box import extremes, mean3
from cutout.outputs.enlarge.tiles import Bytes, Floats

# Luminance and chroma (ITU-R BT.601), which JPEG uses, of red, green and blue.
_LUMINANCE_CHROMA = np.array(
    ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)), np.float32
)
# Levels squared: what the variance of luminance and of chroma must exceed to count.
_EPSILON = np.float32(3e-5 * 255**2)
_CHROMA_EPSILON = np.float32(4e-3 * 255**2)
# Alpha may leave the range of the 3x3 cells by so many levels and so much of the range. More lets the
# subject's texture into alpha, less takes the thinnest hairs away.
_BEYOND_RANGE, _BEYOND_SHARE = np.float32(8), np.float32(1)
_MOST = np.float32(255)
_CENTRE = np.float32(128)
# Cells beyond a part of the picture that its coefficients depend on.
HALO = 2
PLANES = 6


def coefficients(sent: Bytes, alpha: Bytes) -> Floats:
    """Return planes k (3), b, least and most of alpha, in levels; `sent` is (rows, columns, 3).

    Colours are counted from 0. At the borders of the arrays HALO cells are only right if the picture ends
    there.
    """
    planes = np.empty((4, *alpha.shape), np.float32)
    np.einsum("nc,ijc->nij", _LUMINANCE_CHROMA, sent.astype(np.float32), out=planes[:3])
    planes[0] -= _CENTRE
    planes[3] = alpha
    means = mean3(planes)
    covariances = _covariances(planes, means)
    result = np.empty((PLANES, *alpha.shape), np.float32)
    slopes = _solved(covariances)
    offset = means[3] - np.einsum("nij,nij->ij", slopes, means[:3]) - _CENTRE * slopes[0]
    mean = mean3(np.concatenate((slopes, offset[None])))
    np.einsum("nc,nij->cij", _LUMINANCE_CHROMA, mean[:3], out=result[:3])
    result[3] = mean[3]
    result[4:] = _range(alpha)
    return result


def _covariances(planes: Floats, means: Floats) -> Floats:
    """Return covariances of luminance, both chromas and alpha: yy, yb, yr, ya, bb, br, ba, rr, ra."""
    pairs = [(one, other) for one in range(3) for other in range(one, 4)]
    products = np.empty((len(pairs), *planes.shape[1:]), np.float32)
    for product, (one, other) in zip(products, pairs, strict=True):
        np.multiply(planes[one], planes[other], out=product)
    products = mean3(products)
    for number, (one, other) in enumerate(pairs):
        products[number] -= means[one] * means[other]
    return products


def _range(alpha: Bytes) -> Floats:
    """Return the least and the most that alpha may be, of shape (2, rows, columns).

    A thing thinner than a cell is denser than its cell, by so much as the cells differ. Where all are 0 or
    255, it is.
    """
    lowest, highest = (plane.astype(np.float32) for plane in extremes(alpha))
    beyond = _BEYOND_RANGE + _BEYOND_SHARE * (highest - lowest)
    least = np.where(lowest == _MOST, _MOST, np.maximum(lowest - beyond, 0))
    most = np.where(highest == 0, 0, np.minimum(highest + beyond, _MOST))
    return np.stack((least, most))


def _solved(covariances: Floats) -> Floats:
    """Solve (covariance of colours + epsilon) k = covariance with alpha; pivots are floored."""
    yy, yb, yr, ya, bb, br, ba, rr, ra = covariances
    first = 1 / np.maximum(yy + _EPSILON, _EPSILON)
    from_b, from_r = yb * first, yr * first
    second = 1 / np.maximum(bb + _CHROMA_EPSILON - from_b * yb, _EPSILON)
    br = br - from_b * yr
    ba = ba - from_b * ya
    third = 1 / np.maximum(rr + _CHROMA_EPSILON - from_r * yr - br * br * second, _EPSILON)
    slopes = np.empty((3, *yy.shape), np.float32)
    slopes[2] = (ra - from_r * ya - br * second * ba) * third
    slopes[1] = (ba - br * slopes[2]) * second
    slopes[0] = (ya - yb * slopes[1] - yr * slopes[2]) * first
    return slopes
