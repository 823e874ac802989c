"""The content of a receipt: consistent sums, and rows of text. Pure; all amounts are whole cents."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np

from pipeline_assets.variants.receipts.templates import Shop

FIRST_DAY, DAYS = date(2016, 1, 1), 3000
MOST_ITEMS = 10

Placed = Literal["centre", "spread", "table", "rule", "barcode", "gap"]


@dataclass(frozen=True)
class Item:
    """A quantity of an article at a price."""

    name: str
    count: int
    price: int

    @property
    def amount(self) -> int:
        """In cents."""
        return self.count * self.price


@dataclass(frozen=True)
class Sums:
    """A sale. tax: in the total already if `is_added` is false. change = cash - total."""

    items: tuple[Item, ...]
    discount: int
    tax: int
    is_added: bool
    cash: int

    @property
    def subtotal(self) -> int:
        """Of the items."""
        return sum(item.amount for item in self.items)

    @property
    def total(self) -> int:
        """To be paid."""
        return self.subtotal - self.discount + (self.tax if self.is_added else 0)

    @property
    def change(self) -> int:
        """The change due."""
        return self.cash - self.total


@dataclass(frozen=True)
class Row:
    """A row of the receipt; its cells are printed separately. size: of its letters, relative to plain ones."""

    placed: Placed
    cells: tuple[str, ...] = ()
    size: float = 1.0
    is_bold: bool = False


@dataclass(frozen=True)
class Receipt:
    """fields: company, date, address, total as printed."""

    rows: tuple[Row, ...]
    fields: dict[str, str]
    sums: Sums


def money(cents: int) -> str:
    """An amount with two decimals, without thousands separators."""
    return f"{cents // 100}.{cents % 100:02d}"


def sums_of(shop: Shop, random: np.random.Generator) -> Sums:
    """A sale at this shop."""
    chosen = random.permutation(len(shop.items))[: int(random.integers(1, MOST_ITEMS + 1))]
    items = []
    for at in chosen:
        name, low, high = shop.items[int(at)]
        price = int(random.integers(low, high + 1))
        items.append(Item(name, 1 if random.random() < 0.7 else int(random.integers(2, 5)), price))
    subtotal = sum(item.amount for item in items)
    discount = round(subtotal * float(random.choice([0.05, 0.1, 0.2]))) if random.random() < 0.25 else 0
    net, rate = subtotal - discount, shop.tax_percent / 100
    is_added = shop.tax == "added"
    tax = round(net * rate) if is_added else round(net * rate / (1 + rate))
    total = net + (tax if is_added else 0)
    note = int(random.choice([1, 500, 1000, 5000]))
    return Sums(tuple(items), discount, tax, is_added, -(-total // note) * note)


def receipt_of(shop: Shop, random: np.random.Generator) -> Receipt:
    """A receipt of this shop, drawn from `random` alone."""
    sums = sums_of(shop, random)
    company = _one(shop.companies, random)
    street, town = f"NO. {random.integers(1, 200)}, {_one(shop.streets, random)},", _one(shop.towns, random)
    day = (FIRST_DAY + timedelta(days=int(random.integers(DAYS)))).strftime(shop.date_format)
    total = money(sums.total)
    rows = [Row("centre", (company,), float(random.choice([1.0, 1.15, 1.3])), bool(random.random() < 0.6))]
    if random.random() < 0.6:
        rows.append(Row("centre", (f"({random.integers(10000, 999999)}-{_one('ADKMPTVWX', random)})",)))
    rows += [Row("centre", (street,)), Row("centre", (town,))]
    if random.random() < 0.7:
        rows.append(Row("centre", (f"TEL: 0{random.integers(3, 9)}-{random.integers(10**6, 10**7)}",)))
    if shop.tax_percent and random.random() < 0.7:
        rows.append(Row("centre", (f"{shop.tax_name} ID: 000{random.integers(10**8, 10**9)}",)))
    if shop.title:
        rows += [Row("gap"), Row("centre", (shop.title,), 1.0, bool(random.random() < 0.5))]
    rows += [Row("gap"), *_particulars(day, random), Row("rule", (shop.rule,)), *_items(shop, sums, random)]
    rows += [Row("rule", (shop.rule,)), *_totals(shop, sums, total, random)]
    if shop.has_barcode and random.random() < 0.6:
        rows += [Row("gap"), Row("barcode", ("".join(str(random.integers(10)) for _ in range(12)),))]
    rows.append(Row("gap"))
    rows += [Row("centre", (text,)) for text in shop.footer if random.random() < 0.75]
    fields = {"company": company, "date": day, "address": f"{street} {town}", "total": total}
    return Receipt(tuple(rows), fields, sums)


def _particulars(day: str, random: np.random.Generator) -> list[Row]:
    clock = f"{random.integers(8, 22):02d}:{random.integers(60):02d}:{random.integers(60):02d}"
    number = f"{_one(('CS', 'TD', 'R', 'INV'), random)}{random.integers(10**5, 10**8):08d}"
    cashier = _one(("MANIS", "USER", "SIM", "AIDA", "TRAINEE", "LEE"), random)
    if random.random() < 0.5:
        return [
            Row("spread", (f"Doc No: {number}", f"Date: {day}")),
            Row("spread", (f"Cashier: {cashier}", f"Time: {clock}")),
        ]
    return [Row("spread", (text,)) for text in (f"Invoice number: {number}", f"Date: {day} {clock}", f"Cashier: {cashier}")]


def _items(shop: Shop, sums: Sums, random: np.random.Generator) -> list[Row]:
    rows = [Row("table", ("Item", "Qty", "Price", "Amount")) if shop.rows == "two" else Row("spread", ("QTY ITEM", "TOTAL"))]
    if random.random() < 0.5:
        rows.append(Row("rule", (shop.rule,)))
    for item in sums.items:
        if shop.rows == "one":
            rows.append(Row("spread", (f"{item.count} {item.name}", money(item.amount))))
            if item.count > 1:
                rows.append(Row("spread", (f"   @ {money(item.price)}",)))
        else:
            rows.append(Row("spread", (item.name,)))
            rows.append(Row("table", ("", f"{item.count} x", money(item.price), money(item.amount))))
    return rows


def _totals(shop: Shop, sums: Sums, total: str, random: np.random.Generator) -> list[Row]:
    unit = f" ({shop.currency})" if shop.currency else ""
    rows = []
    if sums.discount or sums.is_added:
        rows.append(Row("spread", ("Subtotal", money(sums.subtotal))))
    if sums.discount:
        rows.append(Row("spread", ("Discount", f"-{money(sums.discount)}")))
    if shop.tax_percent:
        rate = f"{shop.tax_name} {shop.tax_percent:g}%"
        rows.append(Row("spread", (rate if sums.is_added else f"{rate} included", money(sums.tax))))
    label = _one(("TOTAL", "Total", "Total Sales", "Rounded Total", "Total Incl. Tax"), random)
    rows.append(
        Row("spread", (label + unit, total), float(random.choice([1.0, 1.0, 1.2, 1.5])), bool(random.random() < 0.6))
    )
    rows += [Row("spread", ("CASH", money(sums.cash))), Row("spread", ("CHANGE", money(sums.change)))]
    if shop.tax_percent and random.random() < 0.6:
        net = sums.total - sums.tax
        rows += [Row("gap"), Row("table", (f"{shop.tax_name} Summary", "", "Amount", "Tax"))]
        rows.append(Row("table", (f"SR {shop.tax_percent:g}%", "", money(net), money(sums.tax))))
    return rows


def _one(of: tuple[str, ...] | str, random: np.random.Generator) -> str:
    return of[int(random.integers(len(of)))]
