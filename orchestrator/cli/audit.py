"""`orch audit`."""

from __future__ import annotations

import typer

from orchestrator.cli.options import Json, Trigger, Url

app = typer.Typer(rich_markup_mode=None, add_completion=False)


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
        output.table(
            ("TRIGGER", "PARTITION", "RUNS", "OPEN", "DEAD", "FROM", "TO"),
            [
                (
                    t["name"],
                    t["partition"],
                    t["runs"],
                    t["open"],
                    t["dead"],
                    t["from"] or "",
                    t["to"] or "",
                )
                for t in found["triggers"]
            ],
            right=("RUNS", "OPEN", "DEAD"),
        )
        for finding in found["findings"]:
            place = " ".join(p for p in (finding["partition"], finding["key"]) if p)
            output.line(output.clean(f"{finding['trigger']} {place}: {finding['problem']}"))
        findings = len(found["findings"])
        output.line("ok" if found["ok"] else output.count(findings, "finding"))
    if not found["ok"]:
        raise typer.Exit(FAILED)
