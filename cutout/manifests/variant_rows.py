"""Rows of variants in exports of shops: without a picture of their own they show their product's."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cutout.manifests.column_names import Header

IsVariant = Callable[[Sequence[str]], bool]


class VariantRule(NamedTuple):
    """The rule of one shop: the columns that identify its export, the one that tells, and what it says."""

    columns: frozenset[str]
    column: str
    is_variant: Callable[[str], bool]


RULES = (
    # WooCommerce: variation, or "variation, virtual".
    VariantRule(
        frozenset({"type", "sku", "parent", "images"}), "type", lambda word: word.startswith("variation")
    ),
    # BigCommerce: rows of a product's SKUs and rules follow it.
    VariantRule(
        frozenset({"item type", "product code/sku"}), "item type", lambda word: word in {"sku", "rule"}
    ),
    # Magento: a variant is not shown by itself, but with its product.
    VariantRule(
        frozenset({"sku", "product_type", "visibility", "base_image"}),
        "visibility",
        lambda word: word == "not visible individually",
    ),
    # Squarespace: only a product's first row has its id.
    VariantRule(
        frozenset({"product id [non editable]", "variant id [non editable]"}),
        "product id [non editable]",
        lambda word: not word,
    ),
)


# Magento writes this word where there is no picture.
NO_PICTURE = "no_selection"


def variant_rule(header: Header) -> IsVariant | None:
    """Return a function that says whether the cells are a variant's; None for other exports."""
    names = set(header.folded)
    for rule in RULES:
        if rule.columns <= names:
            return _read_by(rule, header.folded.index(rule.column))
    return None


def _read_by(rule: VariantRule, index: int) -> IsVariant:
    return lambda cells: rule.is_variant(cells[index].strip().lower())
