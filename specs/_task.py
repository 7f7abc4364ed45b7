"""Checks one task: its names, environment, engine, inputs, results and resources."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from specs._problems import Path, quoted
from specs._schema import CPU, ENV_NAME, GPU, SIZE
from specs._shapes import items, mapping
from specs._walk import Report

RESERVED = "/orch"
"""Targets below it belong to the orchestrator: a batch comes as /orch/batch.ndjson."""

_DATA_URL = re.compile(r"data:[^,]*,", re.DOTALL)
_S3_ENCODINGS = ("", "gzip", "plain")
_CREATE_AS = ("", "dir", "file", "noCreate")


def check_task(task: Mapping[str, Any], path: Path, report: Report) -> None:
    """Report what is wrong with a task beyond the types of its values."""
    name = task.get("Name")
    if isinstance(name, str) and len(name) > 255:
        report((*path, "Name"), "longer than 255 characters", "Shorten it")
    _check_env(mapping(task.get("Env")), (*path, "Env"), report)
    engine = mapping(task.get("Engine"))
    params = mapping(engine.get("Params"))
    if str(engine.get("Type")).strip().casefold() == "docker":
        _check_docker(params, (*path, "Engine", "Params"), report)
    _check_inputs(items(task.get("InputSources")), (*path, "InputSources"), report)
    _check_results(task, path, report)
    _check_resources(mapping(task.get("Resources")), (*path, "Resources"), report)


def _check_env(env: Mapping[str, Any], path: Path, report: Report) -> None:
    for name, value in env.items():
        if not ENV_NAME.fullmatch(name):
            if "${{" not in name:
                message = f"{quoted(name)} is not a name that the node takes"
                guess = re.sub(r"[^A-Z0-9_]", "_", name.upper()).lstrip("_0123456789")
                remedy = f"Write {guess}" if guess else "Use capital letters, digits, underscores"
                report((*path, name), message, remedy)
        elif name.startswith("ORCH_"):
            message = "variables that start with ORCH_ are set by the orchestrator"
            report((*path, name), message, "Choose another name")
        elif name.startswith("BACALHAU_"):
            message = "variables that start with BACALHAU_ are set by the node"
            report((*path, name), message, "Choose another name")
        if value == "":
            report((*path, name), "the node refuses an empty value", "Leave the variable out")


def _check_docker(params: Mapping[str, Any], path: Path, report: Report) -> None:
    directory = params.get("WorkingDirectory")
    if isinstance(directory, str) and directory and not directory.startswith(("/", "${{")):
        message = f"{quoted(directory)} is not an absolute path"
        report((*path, "WorkingDirectory"), message, f"Write /{directory}")
    image = params.get("Image")
    if isinstance(image, str) and any(c.isspace() for c in image.strip()) and "${{" not in image:
        report((*path, "Image"), f"{quoted(image)} holds a space", "Write name:tag")
    for index, item in enumerate(items(params.get("EnvironmentVariables"))):
        if not isinstance(item, str):
            continue
        name = item.partition("=")[0].upper()
        where = (*path, "EnvironmentVariables", index)
        if "=" not in item:
            report(where, f"{quoted(item)} has no value", "Write NAME=value, or better use Env")
        elif name.startswith(("BACALHAU_", "ORCH_")):
            message = f"variables that start with {name.split('_')[0]}_ are not yours to set"
            report(where, message, "Choose another name")


def _check_inputs(inputs: list[Any], path: Path, report: Report) -> None:
    targets: dict[str, int] = {}
    aliases: dict[str, int] = {}
    for index, item in enumerate(inputs):
        source, where = mapping(item), (*path, index)
        target, alias = source.get("Target"), source.get("Alias")
        if isinstance(target, str) and target.strip() and not target.startswith("${{"):
            _check_target(target, (*where, "Target"), report)
            same = targets.setdefault(posixpath.normpath(target), index)
            if same != index:
                message = f"{quoted(target)} is the target of InputSources[{same}] as well"
                report((*where, "Target"), message, "Give each input a target of its own")
        if isinstance(alias, str) and alias and aliases.setdefault(alias, index) != index:
            report((*where, "Alias"), f"the alias {alias} stands here twice", "Change one")
        spec = mapping(source.get("Source"))
        params = mapping(spec.get("Params"))
        kind = str(spec.get("Type")).strip().casefold()
        _check_source(kind, params, (*where, "Source", "Params"), report)


def _check_target(target: str, path: Path, report: Report) -> None:
    if not target.startswith("/"):
        message = f"{quoted(target)} is not an absolute path"
        report(path, message, f"Write /{target.removeprefix('./')}")
    elif ".." in target.split("/"):
        report(path, f"{quoted(target)} leads upwards", "Write the path without ..")
    elif posixpath.normpath(target) == "/":
        report(path, "the root itself cannot be a target", "Write a directory such as /in")
    elif posixpath.normpath(target) == RESERVED or target.startswith(f"{RESERVED}/"):
        message = f"targets below {RESERVED} are the orchestrator's own"
        report(path, message, "Choose another one, such as /in")


def _check_source(kind: str, params: Mapping[str, Any], path: Path, report: Report) -> None:
    url = params.get("URL")
    if kind == "inline" and isinstance(url, str) and url and not url.startswith("${{"):
        if not _DATA_URL.match(url):
            message = f"{quoted(url)} is not a data: URL"
            report((*path, "URL"), message, "Write data:text/plain,… or data:;base64,…")
    elif kind == "urldownload" and isinstance(url, str) and url and "${{" not in url:
        if not _is_web_address(url):
            message = f"{quoted(url)} is not an http or https address"
            report((*path, "URL"), message, "Write it as https://host/path")
    elif kind in ("local", "localdirectory"):
        place = params.get("SourcePath")
        if isinstance(place, str) and place and not place.startswith(("/", "${{")):
            message = f"{quoted(place)} is not an absolute path on the node"
            report((*path, "SourcePath"), message, "Write it from the root: /data/in")
        _check_word(params.get("CreateAs", ""), _CREATE_AS, (*path, "CreateAs"), report)


def _check_results(task: Mapping[str, Any], path: Path, report: Report) -> None:
    results = items(task.get("ResultPaths"))
    publisher = mapping(task.get("Publisher"))
    if results and not str(publisher.get("Type") or "").strip():
        message = "results have nowhere to go without a Publisher"
        report((*path, "ResultPaths"), message, "Add a Publisher (s3, local) or remove them")
    if str(publisher.get("Type")).strip().casefold() == "s3":
        encoding = mapping(publisher.get("Params")).get("Encoding", "")
        where = (*path, "Publisher", "Params", "Encoding")
        _check_word(encoding, _S3_ENCODINGS, where, report)
    for key in ("Name", "Path"):
        seen: set[str] = set()
        for index, item in enumerate(results):
            value = mapping(item).get(key)
            if not isinstance(value, str) or not value or "${{" in value:
                continue
            where = (*path, "ResultPaths", index, key)
            if value in seen:
                report(where, f"{quoted(value)} stands here twice", "Change one of the two")
            seen.add(value)
            if key == "Path" and not value.startswith("/"):
                message = f"{quoted(value)} is not an absolute path"
                report(where, message, f"Write /{value.removeprefix('./')}")


def _check_resources(resources: Mapping[str, Any], path: Path, report: Report) -> None:
    for key, pattern, example in (
        ("CPU", CPU, "500m or 1.5"),
        ("Memory", SIZE, "512MB or 2GB"),
        ("Disk", SIZE, "512MB or 2GB"),
        ("GPU", GPU, "1"),
    ):
        value = resources.get(key)
        if not isinstance(value, str) or not value.strip() or "${{" in value:
            continue
        if not pattern.fullmatch(value.strip()):
            report((*path, key), f"{quoted(value)} is not an amount", f"Write {example}")


def _check_word(value: object, words: tuple[str, ...], path: Path, report: Report) -> None:
    if not isinstance(value, str) or "${{" in value:
        return
    if value.casefold() not in {word.casefold() for word in words}:
        known = ", ".join(word for word in words if word)
        report(path, f"{quoted(value)} is unknown", f"Write one of {known}")


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
