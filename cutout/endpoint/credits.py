"""Credits of the account, by pool."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_POOLS = 100
# General credits, and this product's own pool, whose name the documents spell in two ways.
USABLE = {"common", "cutout_product_background_removal", "cutout_commodity_background_removal"}


@dataclass(frozen=True)
class CreditPool:
    """Credits of one kind: `common`, or a product's own. A missing figure is None."""

    unique_sign: str
    name: str
    balance: float | None
    total: float | None


def credit_pools(envelope: Mapping[str, Any]) -> list[CreditPool]:
    """Read `data`: an array of pools, in an older document a single object. Any field may be missing."""
    data = envelope.get("data")
    pools = data if isinstance(data, list) else [data]
    return [_pool(pool) for pool in pools[:MAX_POOLS] if isinstance(pool, dict)]


def usable(pools: list[CreditPool]) -> list[CreditPool]:
    """Return the pools that pay for a call; all of them if none has a known name."""
    return [pool for pool in pools if pool.unique_sign in USABLE] or pools


def _pool(pool: Mapping[str, Any]) -> CreditPool:
    return CreditPool(
        unique_sign=_text(pool.get("unique_sign")),
        name=_text(pool.get("name")),
        balance=_figure(pool.get("balance")),
        total=_figure(pool.get("total")),
    )


def _text(value: object) -> str:
    return "".join(c for c in value[:100] if c.isprintable()) if isinstance(value, str) else ""


def _figure(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        figure = float(value)
    except (ValueError, OverflowError):
        return None
    return figure if math.isfinite(figure) else None
