"""The mix of a stage from what there is: natural shares, weights, a group raised to a share, synthetic text added [R 2.1].

    openmimo data mix runs/tiny/tokens/shards --tokens 2e6 --weight reference=0.5 --raise code,math-exercises=0.7

Stage 1 samples ads, news, jobs and thin pages down and professional domains up (`weight`), stage 2 raises mathematics and code to
about 70 % (`raise`), stage 3 adds about 10 % synthetic responses (`add`). The weights are ours: the report gives none.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from openmimo.errors import UserError


def natural(sizes: dict[str, int], weights: dict[str, float]) -> dict[str, float]:
    """Shares in proportion to size x weight (1 where none is given). sizes: tokens of each source."""
    products = {name: size * weights.get(name, 1.0) for name, size in sizes.items()}
    if sum(products.values()) <= 0:
        raise UserError("mix: nothing is left to draw from; give some source a weight above 0")
    return {name: product / sum(products.values()) for name, product in products.items()}


def raised(shares: dict[str, float], group: Iterable[str], to: float) -> dict[str, float]:
    """The sources of `group` have `to` of the tokens together; inside and outside of it the proportions stay."""
    group = set(group)
    inside = sum(share for name, share in shares.items() if name in group)
    if not 0 < to <= 1 or not inside or (inside >= 1 > to):
        raise UserError(
            f"mix: {', '.join(sorted(group))} cannot be raised to {to:g}; there must be something of it and beside it"
        )
    return {
        n: s * (to / inside if n in group else (1 - to) / (1 - inside) if inside < 1 else 0) for n, s in shares.items()
    }


def plan_mix(
    sizes: dict[str, int], weights: dict[str, float], raises: dict[str, float], adds: dict[str, float]
) -> dict[str, float]:
    """Shares that sum to 1. raises: `one,two` -> their share together, of what is not added; adds: source -> share of all."""
    if unknown := sorted({*weights, *adds, *(n for group in raises for n in group.split(","))} - set(sizes)):
        raise UserError(f"mix: no source {unknown[0]!r}; there are {', '.join(sizes)}")
    if any(w < 0 for w in weights.values()):
        raise UserError("mix: a weight is at least 0")
    shares = natural({name: size for name, size in sizes.items() if name not in adds}, weights)
    for group, to in raises.items():
        shares = raised(shares, group.split(","), to)
    rest = 1 - sum(adds.values())
    if min(adds.values(), default=0) < 0 or rest < 0:
        raise UserError("mix: what is added must lie between 0 and 1")
    return {name: share * rest for name, share in shares.items()} | adds


def print_mix(
    shards: Path, tokens: float, weights: list[str], raises: list[str], adds: list[str], console: Console
) -> None:
    """The shares, what they come to in tokens and epochs, and the line for a recipe."""
    from openmimo.data.pack import TokenStore

    store = TokenStore(shards)
    sizes = {name: store.tokens(name) for name in store.ids}
    shares = plan_mix(sizes, *map(_numbers, (weights, raises, adds)))
    table = Table("source", "tokens there", "share", "tokens", "epochs")
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        epochs = share * tokens / sizes[name] if sizes[name] else 0.0
        table.add_row(name, f"{sizes[name]:,}", f"{share:.1%}", f"{share * tokens:,.0f}", f"{epochs:.2f}")
    console.print(table)
    console.print(toml_of(shares), highlight=False, soft_wrap=True, markup=False)


def toml_of(shares: dict[str, float]) -> str:
    """`mix = { ... }` with shares of four digits that sum to 1; what rounds to nothing is left out."""
    rounded = {name: round(share, 4) for name, share in sorted(shares.items(), key=lambda item: -item[1])}
    largest = next(iter(rounded))
    rounded[largest] = round(rounded[largest] + 1 - sum(rounded.values()), 4)
    return "mix = { " + ", ".join(f"{name} = {share:g}" for name, share in rounded.items() if share) + " }"


def _numbers(options: list[str]) -> dict[str, float]:
    found = {}
    for option in options:
        name, _, value = option.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[""] = 0.0
        if not name:
            raise UserError(f"mix: {option!r}: expected NAME=NUMBER, such as math=0.7")
    return found
