"""What a submitted job must look like, and the defaults that the node adds to it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, cast

from .errors import ApiError, invalid, refused
from .states import Json, go_duration, mapping, sequence

RESERVED_META = "bacalhau.org/"
JOB_TYPES = ("batch", "service", "daemon", "ops")
NETWORKS = {
    "default": "Default",
    "none": "None",
    "host": "Host",
    "full": "Host",
    "http": "HTTP",
    "bridge": "Bridge",
}
_UNITS = {
    "": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "t": 1000**4,
    "ki": 1024,
    "mi": 1024**2,
    "gi": 1024**3,
    "ti": 1024**4,
}
_OPTIONAL = ("Env", "Meta", "InputSources", "ResultPaths")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)b?\Z")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def checked(job: Any) -> tuple[Json, list[str]]:
    """Validates and completes a job; returns it with the warnings of the node.

    The result has the keys in the node's order, without ID, State, Version, Revision and
    times. Raises ApiError 400 with the node's words.
    """
    if not isinstance(job, dict) or not job:
        raise invalid("empty/nil job")
    given = cast("Json", job)
    errors = _submission_errors(given)
    if errors:
        raise invalid("\n".join(errors))
    warnings = _warnings(given)
    completed = _with_defaults(given)
    contradictions = _contradictions(completed["Tasks"])
    if contradictions:
        raise refused("\n".join(contradictions))
    return completed, warnings


def digest(job: Json) -> str:
    """A hash over what makes two jobs of one name the same to the node."""
    compared = {key: value for key, value in job.items() if key != "Meta"}
    compared["Meta"] = _user_meta(job)
    text = json.dumps(compared, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def task_of(job: Json) -> Json:
    """A job's only task; the node drops further ones."""
    return cast("Json", job["Tasks"][0])


def memory_bytes(task: Json) -> int:
    """The task's memory limit in bytes, 0 for none."""
    size = parse_size(str(mapping(task, "Resources").get("Memory", "")))
    return size or 0


def parse_size(text: str) -> int | None:
    """Bytes of `512mb` or `1.5Gi`; None for what is not a size."""
    if not text:
        return 0
    match = _SIZE.match(text.strip().lower())
    return int(float(match[1]) * _UNITS[match[2]]) if match else None


def _field(owner: Json, key: str, kind: type, where: str) -> Any:
    """A field of the right JSON type, or its zero value; Go refuses other types."""
    value = owner.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        expected = {"int": "int64", "str": "string", "dict": "object", "list": "array"}
        raise invalid(
            f"code=400, message=Unmarshal type error: expected={expected[kind.__name__]}, "
            f"got={type(value).__name__}, field={where}{key}"
        )
    return value


def _submission_errors(job: Json) -> list[str]:
    errors: list[str] = []
    kind = _field(job, "Type", str, "Job.")
    if not kind:
        errors.append("missing job type")
    elif kind not in JOB_TYPES:
        errors.append(f'invalid job type: "{kind}"')
    count = _field(job, "Count", int, "Job.")
    if count < 0:
        errors.append("job count must be >= 0")
    if count > 1 and kind in ("daemon", "ops"):
        errors.append(f"{kind} jobs cannot specify count > 1 as they run on all matching nodes")
    tasks = _field(job, "Tasks", list, "Job.")
    if not tasks:
        errors.append("missing job tasks")
    for key, empty in (("Name", str), ("Namespace", str), ("Priority", int)):
        _field(job, key, empty, "Job.")
    for key in ("Labels", "Meta"):
        for name, value in _field(job, key, dict, "Job.").items():
            _field({name: value}, name, str, f"Job.{key}.")
    for number, constraint in enumerate(_field(job, "Constraints", list, "Job."), 1):
        if not isinstance(constraint, dict) or not cast("Json", constraint).get("Key"):
            errors.append(f"constraint {number} validation failed: selector key is missing")
    for task in tasks:
        if not isinstance(task, dict):
            raise invalid(
                "code=400, message=Unmarshal type error: expected=models.Task, "
                f"got={type(task).__name__}, field=Job.Tasks"
            )
        task_errors = _task_errors(cast("Json", task))
        name = cast("Json", task).get("Name", "")
        errors.extend(f"task {name} validation failed: {error}" for error in task_errors)
    return errors


def _task_errors(task: Json) -> list[str]:
    errors: list[str] = []
    if not str(_field(task, "Name", str, "Job.Tasks.")).strip():
        errors.append("missing task name")
    engine = _field(task, "Engine", dict, "Job.Tasks.")
    if not str(engine.get("Type", "")).strip():
        errors.append("invalid engine: missing spec type")
    for name, value in _field(task, "Env", dict, "Job.Tasks.").items():
        _field({name: value}, name, str, "Job.Tasks.Env.")
        if not _ENV_NAME.match(name):
            errors.append(f"environment variable '{name}' has an invalid name")
        if name.upper().startswith("BACALHAU_"):
            errors.append(f"environment variable '{name}' cannot start with BACALHAU_")
    for name in ("Memory", "Disk"):
        value = str(_field(task, "Resources", dict, "Job.Tasks.").get(name, ""))
        if parse_size(value) is None:
            errors.append(f"invalid resources: invalid {name} value: {value}")
    targets: set[str] = set()
    for source in cast("list[Any]", _field(task, "InputSources", list, "Job.Tasks.")):
        target = str(cast("Json", source).get("Target", "")) if isinstance(source, dict) else ""
        if not target:
            errors.append("invalid input sources: missing artifact target")
        elif target in targets:
            errors.append(f"input source with target '{target}' already exist")
        targets.add(target)
    for name in ("ExecutionTimeout", "QueueTimeout", "TotalTimeout"):
        value = _field(_field(task, "Timeouts", dict, "Job.Tasks."), name, int, "Job.Tasks.")
        if value < 0:
            words = {"E": "execution", "Q": "queue", "T": "total"}[name[0]]
            errors.append(f"invalid timeouts: invalid {words} timeout value: {go_duration(value)}")
    network = str(_field(task, "Network", dict, "Job.Tasks.").get("Type", ""))
    if network and network.lower() not in NETWORKS:
        errors.append(f"invalid network: invalid networking type '{network}'")
    return errors


def _contradictions(tasks: list[Json]) -> list[str]:
    errors: list[str] = []
    for task in tasks:
        where = f"task {task['Name']} validation failed: "
        if task.get("ResultPaths") and not task["Publisher"]["Type"]:
            errors.append(f"{where}publisher must be set if result paths are set")
        limits = task["Timeouts"]
        total, queue = limits.get("TotalTimeout", 0), limits.get("QueueTimeout", 0)
        execution = limits.get("ExecutionTimeout", 0)
        if total and execution + queue > total:
            errors.append(
                f"{where}task timeouts validation failed: execution timeout "
                f"{go_duration(execution or total)} and queue timeout {go_duration(queue)} "
                f"should be less than total timeout {go_duration(total)}"
            )
    return errors


def _warnings(job: Json) -> list[str]:
    """What the node drops from a submission, in its words."""
    warnings = [
        f"job {words} is ignored when submitting a job"
        for key, words in (
            ("State", "state"),
            ("Revision", "revision"),
            ("Version", "version"),
            ("CreateTime", "create time"),
            ("ModifyTime", "modify time"),
        )
        if job.get(key)
    ]
    if job.get("ID"):
        warnings.append("job ID is ignored when submitting a batch job")
    if len(job["Tasks"]) > 1:
        warnings.append("only one task is supported per job")
    warnings.extend(
        f'job meta key "{key}" is reserved and will be ignored'
        for key in mapping(job, "Meta")
        if key.startswith(RESERVED_META)
    )
    return warnings


def _user_meta(job: Json) -> Json:
    meta = mapping(job, "Meta")
    return {key: value for key, value in meta.items() if not key.startswith(RESERVED_META)}


def _with_defaults(job: Json) -> Json:
    kind = job["Type"]
    count = job.get("Count")
    if kind in ("daemon", "ops"):
        count = 0
    return {
        "Name": job.get("Name") or "",
        "Namespace": job.get("Namespace") or "default",
        "Type": kind,
        "Priority": job.get("Priority") or 0,
        "Count": 1 if count is None else count,
        "Constraints": sequence(job, "Constraints"),
        "Meta": _user_meta(job),
        "Labels": mapping(job, "Labels"),
        "Tasks": [_task_with_defaults(task) for task in job["Tasks"][:1]],
    }


def _spec_config(value: Any) -> Json:
    given = cast("Json", value or {})
    config: Json = {"Type": given.get("Type") or ""}
    if given.get("Params"):
        config["Params"] = dict(sorted(given["Params"].items()))
    return config


def _task_with_defaults(task: Json) -> Json:
    resources = {key: str(value).lower() for key, value in mapping(task, "Resources").items()}
    network = dict(mapping(task, "Network"))
    network["Type"] = NETWORKS[str(network.get("Type") or "Default").lower()]
    completed: Json = {
        "Name": task["Name"],
        "Engine": _spec_config(task["Engine"]),
        "Publisher": _spec_config(task.get("Publisher")),
        "Env": task.get("Env"),
        "Meta": task.get("Meta"),
        "InputSources": [
            {
                "Source": _spec_config(source.get("Source")),
                "Alias": source.get("Alias") or "",
                "Target": source["Target"],
            }
            for source in sequence(task, "InputSources")
        ],
        "ResultPaths": task.get("ResultPaths"),
        "Resources": {"CPU": "500m", "Memory": "512mb"}
        | {key: value for key, value in resources.items() if value},
        "Network": network,
        "Timeouts": {key: value for key, value in mapping(task, "Timeouts").items() if value},
    }
    return {key: value for key, value in completed.items() if value or key not in _OPTIONAL}


def parse_body(body: bytes, content_type: str) -> Json:
    """The JSON object of a request, with the node's answers to what is none."""
    if not body:
        return {}
    if not content_type.lower().startswith("application/json"):
        raise invalid("code=415, message=Unsupported Media Type")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _not_json(error) from None
    if not isinstance(value, dict):
        raise invalid(
            "code=400, message=Unmarshal type error: expected=apimodels.PutJobRequest, "
            f"got={type(value).__name__}"
        )
    return cast("Json", value)


def _not_json(error: Exception) -> ApiError:
    words = "unexpected EOF"
    if isinstance(error, json.JSONDecodeError) and error.pos < len(error.doc.rstrip()) - 1:
        words = f"Syntax error: offset={error.pos}, error=invalid character"
    return invalid(f"code=400, message={words}, internal={words}")
