"""The ledger of the mix as a table, for the terminal and the report; `train/ledger` makes it.

python -c "from openmimo.data.ledger import ledger_table; import json; print(ledger_table(json.load(open('runs/tiny/base/ledger.json'))))"
"""

from __future__ import annotations

from typing import Any


def ledger_table(ledger: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of a ledger: a row for each source that was drawn."""
    stages = ledger["stages"]
    head = ["source", "tokens there", *(f"{name}, drawn" for name in stages), "trained on", "epochs"]
    rows = []
    for name, source in sorted(ledger["sources"].items(), key=lambda item: -item[1]["tokens"]):
        drawn = [(counts.get(name, 0), sum(counts.values())) for counts in stages.values()]
        if any(number for number, _ in drawn):
            shares = [f"{number:,} ({number / max(1, whole):.1%})" for number, whole in drawn]
            rows.append([name, f"{source['size']:,}", *shares, f"{source['tokens']:,}", f"{source['epochs']:.2f}"])
    return head, rows
