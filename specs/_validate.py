"""Checks a job against what the node refuses, silently mangles, or never finishes."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from specs._document import Document
from specs._paths import BASE_PATHS, KnownPaths
from specs._placeholders import PlaceholderRules, check_program_text
from specs._policies import Policies
from specs._problems import Path, Problem, SpecError, collect, quoted, suggestion
from specs._schema import (
    DOMAIN,
    JOB_NAME,
    JOB_TYPES,
    NAMESPACE,
    NETWORKS,
    OPERATORS,
    PORT_NAME,
)
from specs._shapes import describe, items, mapping
from specs._task import check_task
from specs._walk import Report, walk

MAX_LABELS = 64
MAX_LABEL = 1024


def validate_job(
    job: object,
    *,
    known: KnownPaths = BASE_PATHS,
    policies: Policies | None = None,
    document: Document | None = None,
    path: Path = ("job",),
) -> list[Problem]:
    """Return all that is wrong with a job, placed where it stands at `path` in `document`."""
    source = document or Document(data={}, file="<job>")
    allowed = policies or Policies()
    problems: list[Problem] = []
    seen: set[tuple[Path, str]] = set()

    def report(where: Path, message: str, remedy: str) -> None:
        if (where, message) not in seen:
            seen.add((where, message))
            collect(problems, source.problem((*path, *where), message, remedy))

    try:
        walk(job, report=report, visit=PlaceholderRules(known, allowed, report).visit)
        _check_whole(mapping(job), known, allowed, report)
    except SpecError as error:
        return error.problems
    return problems


def _check_whole(
    job: Mapping[str, Any], known: KnownPaths, policies: Policies, report: Report
) -> None:
    _check_job(job, report)
    for index, item in enumerate(items(job.get("Tasks"))[:1]):
        task, path = mapping(item), ("Tasks", index)
        check_task(task, path, report)
        _check_network(mapping(task.get("Network")), (*path, "Network"), report)
        if not policies.allow_shell_data:
            check_program_text(task, path, known=known, report=report)


def _check_job(job: Mapping[str, Any], report: Report) -> None:
    kind = job.get("Type")
    if isinstance(kind, str) and kind not in ("batch", "ops") and kind.strip():
        if kind in JOB_TYPES:
            report(("Type",), JOB_TYPES[kind], "Write Type: batch")
        elif "${{" not in kind:
            message = f"unknown job type {quoted(kind)}"
            report(("Type",), message, suggestion(kind, ("batch", "ops")))
    count = job.get("Count")
    if kind == "ops" and isinstance(count, int) and not isinstance(count, bool) and count > 1:
        message = "an ops job runs on all nodes that match, so it takes no count"
        report(("Count",), message, "Remove Count, or write Type: batch")
    name = job.get("Name")
    if isinstance(name, str) and name and "${{" not in name and not JOB_NAME.fullmatch(name):
        message = f"{quoted(name)}: the node takes such a name and cannot find it again"
        report(("Name",), message, "Use letters, digits, dots, dashes and underscores")
    space = job.get("Namespace")
    if isinstance(space, str) and space and "${{" not in space and not NAMESPACE.fullmatch(space):
        message = f"{quoted(space)} is not a namespace"
        report(("Namespace",), message, "Use letters, digits, dots, dashes and underscores")
    tasks = items(job.get("Tasks"))
    if job.get("Tasks") == []:
        report(("Tasks",), "there is no task", "Add one with Name and Engine")
    elif len(tasks) > 1:
        message = f"{len(tasks)} tasks, but the node silently drops all but the first"
        report(("Tasks", 1), message, "Make each task a trigger of its own")
    for index, item in enumerate(items(job.get("Constraints"))):
        _check_constraint(mapping(item), ("Constraints", index), report)
    _check_labels(mapping(job.get("Labels")), report)
    for key in mapping(job.get("Meta")):
        if key.startswith("bacalhau.org/"):
            message = "the node silently drops keys that start with bacalhau.org/"
            report(("Meta", key), message, "Choose another prefix")


def _check_labels(labels: Mapping[str, Any], report: Report) -> None:
    if len(labels) > MAX_LABELS:
        report(("Labels",), f"more than {MAX_LABELS} labels", "Keep what you filter by")
    for key, value in labels.items():
        if key.startswith("orch."):
            message = "labels that start with orch. are the orchestrator's own"
            report(("Labels", key), message, "Choose another prefix")
        elif not key or any(c.isspace() for c in key):
            report(("Labels", key), f"{quoted(key)} cannot be selected by", "Write it as a word")
        elif len(key) > MAX_LABEL or (isinstance(value, str) and len(value) > MAX_LABEL):
            report(("Labels", key), f"longer than {MAX_LABEL} characters", "Put it in Meta")


def _check_constraint(item: Mapping[str, Any], path: Path, report: Report) -> None:
    operator = item.get("Operator")
    if not isinstance(operator, str) or not operator:
        return
    values = items(item.get("Values"))
    if operator not in OPERATORS:
        remedy = suggestion(operator, OPERATORS)
        report((*path, "Operator"), f"unknown operator {quoted(operator)}", remedy)
    elif operator in ("in", "notin") and not values:
        report(path, f"the operator {operator} needs Values", "Add Values: [ … ]")
    elif operator in ("exists", "!") and values:
        message = f"the operator {operator} takes no Values"
        report((*path, "Values"), message, "Remove them, or write Operator: =")
    elif operator not in ("in", "notin", "exists", "!") and len(values) != 1:
        message = f"the operator {operator} needs exactly one value"
        report(path, message, "Write Values: [one], or use in and notin for several")
    elif operator in ("gt", "lt"):
        value = str(values[0])
        if not value.lstrip("-").isdecimal() and "${{" not in value:
            message = f"the operator {operator} compares whole numbers, not {quoted(values[0])}"
            report((*path, "Values", 0), message, 'Write one in quotes, such as "8"')


def _check_network(network: Mapping[str, Any], path: Path, report: Report) -> None:
    kind = network.get("Type", "Default")
    if not isinstance(kind, str) or "${{" in kind or not kind.strip():
        return
    folded = kind.strip().casefold()
    if folded not in {name.casefold() for name in NETWORKS}:
        report((*path, "Type"), f"unknown network {quoted(kind)}", suggestion(kind, NETWORKS))
        return
    domains, ports = items(network.get("Domains")), items(network.get("Ports"))
    if domains and folded != "http":
        report((*path, "Domains"), "only the network HTTP has Domains", "Write Type: HTTP")
    for index, domain in enumerate(domains):
        if isinstance(domain, str) and "${{" not in domain and not _is_host(domain):
            message = f"{quoted(domain)} is not a domain"
            remedy = "Write its name alone, such as example.org: no scheme, port or path"
            report((*path, "Domains", index), message, remedy)
    if ports and folded not in ("host", "full", "bridge"):
        report((*path, "Ports"), "only Host and Bridge networks have Ports", "Remove them")
    names: set[str] = set()
    for index, item in enumerate(ports):
        _check_port(mapping(item), (*path, "Ports", index), folded, names, report)


def _check_port(
    port: Mapping[str, Any], path: Path, network: str, names: set[str], report: Report
) -> None:
    name, static, address = port.get("Name"), port.get("Static"), port.get("HostNetwork")
    if isinstance(name, str) and name:
        if not PORT_NAME.fullmatch(name):
            message = f"{quoted(name)} cannot be part of a variable's name"
            report((*path, "Name"), message, "Use letters, digits and underscores")
        elif name in names:
            report((*path, "Name"), f"the name {name} stands here twice", "Give it another name")
        names.add(name)
    if isinstance(static, int) and 0 < static < 1024:
        report((*path, "Static"), f"port {static} is privileged", "Write 1024 or above")
    if network != "bridge" and port.get("Target"):
        report((*path, "Target"), "only a Bridge network has a Target", "Remove it")
    if isinstance(address, str) and address:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            message = f"{describe(address)} is not an IP address"
            report((*path, "HostNetwork"), message, "Write 127.0.0.1 or leave it out")


def _is_host(text: str) -> bool:
    if DOMAIN.fullmatch(text.strip()):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
