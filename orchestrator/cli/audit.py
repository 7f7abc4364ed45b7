"""`orch audit`."""

from __future__ import annotations

import typer

from orchestrator.cli.options import Json, Trigger, Url

app = typer.Typer(rich_markup_mode=None, add_completion=False)
_FOR_PARTITIONS = 100  # columns


@app.command()
def audit(trigger: Trigger = None, url: Url = None, as_json: Json = False) -> None:
    """Prove from the ledger that nothing is missing and nothing is there twice.

    Exits with 1 if anything was found.
    """
    from orchestrator.cli import output
    from orchestrator.cli.errors import FAILED
    from orchestrator.cli.http import Api

    found = Api(url).get("audit", trigger=trigger)
    if as_json:
        output.as_json(found)
    else:
        columns = ["TRIGGER", "PARTITION", "RUNS", "OPEN", "DEAD", "FROM", "TO"]
        keys = ("name", "partition", "runs", "open", "dead", "from", "to")
        rows = [[t[key] if t[key] is not None else "" for key in keys] for t in found["triggers"]]
        columns[1] = "PARTITION" if output.wide(_FOR_PARTITIONS) else "PART"
        cut = [columns[1], "TRIGGER"]
        if all(t["partition"] == output.ONE_PARTITION for t in found["triggers"]):
            del cut[0]
            for row in (columns, *rows):
                del row[1]
        numbers = ("RUNS", "OPEN", "DEAD")
        output.table(columns, rows, right=numbers, cut=cut, ends=("PARTITION", "PART"))
        for finding in found["findings"]:
            place = " ".join(p for p in (finding["partition"], finding["key"]) if p)
            output.line(output.clean(f"{finding['trigger']} {place}: {finding['problem']}"))
        findings = len(found["findings"])
        output.line("ok" if found["ok"] else output.count(findings, "finding"))
    if not found["ok"]:
        raise typer.Exit(FAILED)
