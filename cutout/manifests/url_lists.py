"""Cells that hold several addresses."""

import re

# A comma, blank, semicolon or bar may stand within an address: what comes behind it must begin another one.
# Each run of them is looked at once, from its begin: a cell may have a million.
BETWEEN = re.compile(r"(?<![\s,;|])[\s,;|]++(?=(?:https?|s3)://)", re.IGNORECASE)
BEGINS = re.compile(r"(?:https?|s3)://", re.IGNORECASE)
# No scheme of one address begins behind this place.
BEHIND_THE_SCHEME = 8


def may_be_several(cell: str) -> bool:
    """The fast way for nearly all cells: False for one address or name."""
    return cell.find("://", BEHIND_THE_SCHEME) > 0


def addresses_of(cell: str) -> list[str]:
    """The addresses in the order of the cell, each once; a cell that is one address or a name as it is."""
    if not may_be_several(cell) or not BEGINS.match(cell):
        return [cell]
    found = BETWEEN.split(cell)
    if len(found) == 1:
        return [cell]
    return list(dict.fromkeys(address.rstrip(" \t\r\n,;|") for address in found))


def listed(cell: str) -> list[str]:
    """The same for a column that is a list: names without a scheme are separated by commas."""
    if "://" in cell:
        return addresses_of(cell)
    return [name for name in map(str.strip, cell.split(",")) if name]


def numbered(external_id: str, number: int) -> str:
    """`SKU`, `SKU-2`, `SKU-3`."""
    return external_id if number == 1 else f"{external_id}-{number}"
