"""Templates: the shops of receipts, as data in a parent's bytes. All companies are invented."""

import json
from pathlib import Path
from typing import Literal

import pydantic

from pipeline_assets.errors import UnfitParent
from pipeline_assets.runtime.blobs import bytes_of, size_of

MAX_BYTES = 64 << 10


class Shop(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A style of receipt. items: (name, lowest and highest price in cents). rows: lines per item."""

    companies: tuple[str, ...] = pydantic.Field(min_length=1)
    streets: tuple[str, ...] = pydantic.Field(min_length=1)
    towns: tuple[str, ...] = pydantic.Field(min_length=1)
    items: tuple[tuple[str, pydantic.PositiveInt, pydantic.PositiveInt], ...] = pydantic.Field(min_length=1)
    currency: str
    tax_name: str
    tax_percent: float = pydantic.Field(ge=0, le=100)
    tax: Literal["added", "included"]
    date_format: str
    title: str
    rows: Literal["one", "two"]
    is_mono: bool
    has_barcode: bool
    rule: Literal["-", "_"]
    footer: tuple[str, ...]

    @pydantic.model_validator(mode="after")
    def _prices_ascend(self) -> "Shop":
        if reversed_items := [name for name, low, high in self.items if low > high]:
            raise ValueError(f"prices run backwards: {reversed_items}")
        return self


def _canonical(shop: object) -> bytes:
    return json.dumps(shop, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


TEMPLATES: dict[str, bytes] = {
    name: _canonical(shop)
    for name, shop in json.loads(Path(__file__).with_name("shops.json").read_text(encoding="utf-8")).items()
}
"""Canonical JSON by name: the parents that the project brings along."""


def shop_of(data: bytes | Path) -> Shop:
    """A parent's shop. Raises UnfitParent if the bytes are not a template."""
    size = size_of(data)
    if size > MAX_BYTES:
        raise UnfitParent("too_large", f"{size:,} bytes, and a template has {MAX_BYTES:,} at most")
    try:
        return Shop.model_validate_json(bytes_of(data))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UnfitParent("undecodable", f"no template: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
