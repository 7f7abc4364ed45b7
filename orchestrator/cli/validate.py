"""`orch validate`."""

from __future__ import annotations

from typing import Any

import typer

from orchestrator.cli.options import Files, Json

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def validate(file: Files, as_json: Json = False) -> None:
    """Check trigger files and plain Bacalhau jobs, without an orchestrator.

    Exits with 1 if anything is wrong, and says in which line.
    """
    import specs
    from connectors.registry import Registry
    from orchestrator.cli import files, output
    from orchestrator.cli.errors import FAILED
    from orchestrator.operations.checking import FileChecker

    registry = Registry.load()
    checker = FileChecker(registry)
    found: list[specs.Problem] = []
    checked: list[dict[str, Any]] = []
    for path in files.find(file):
        source = files.read(path)
        try:
            what = _check(registry, checker, source)
            checked.append({"file": source.name, **what})
        except specs.SpecError as error:
            found += error.problems
    if as_json:
        output.as_json({"ok": not found, "files": checked, "problems": [_view(p) for p in found]})
        if found:
            raise typer.Exit(FAILED)
        return
    if found:
        raise files.problems_error(found)
    for item in checked:
        output.line(f"{item['file']}: {item['kind']} {item['name']}: ok")


def _check(registry: Any, checker: Any, source: Any) -> dict[str, str]:
    import specs
    from orchestrator.cli import files

    document = files.load(source)
    if not specs.is_job(document):
        file = checker.check_file(checker.parse(document), base_dir=source.directory).file
        return {"kind": file.kind, "name": file.name}
    # Whatever trigger the job is for: each connector's own values may stand in it.
    paths = {path for kind in registry.kinds for path in registry.get(kind).value_paths}
    job = specs.TriggerFile(
        kind="",
        name="",
        settings={},
        policies=specs.Policies(),
        job=document.data,
        document=document,
        job_path=(),
    )
    known = specs.BASE_PATHS.extended(outside=tuple(paths))
    specs.prepare(job, base_dir=source.directory, known=known)
    return {"kind": "job", "name": str(document.data.get("Name") or "without a name")}


def _view(problem: Any) -> dict[str, Any]:
    import specs

    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": specs.dotted(problem.path),
        "message": problem.message,
        "remedy": problem.remedy,
    }
