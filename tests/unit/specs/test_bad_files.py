"""Every wrong file is refused with its place, the reason and a remedy."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import yaml

import specs

SETTINGS = {"cron": ("schedule", "every", "at", "timezone"), "kafka": ("topic", "servers")}

HEAD = """\
apiVersion: orch/v1
kind: cron
name: t
every: 15s
"""

DOCKER = """\
job:
  Type: batch
  Tasks:
    - Name: main
      Engine:
        Type: docker
        Params:
          Image: busybox:1
"""
"""The job begins in line 5 of a file that starts with HEAD; the task's next key is line 13."""


@dataclass(frozen=True)
class Bad:
    """A file, and where (`line:path`), with which words and which remedy it is refused."""

    text: str
    place: str
    words: str
    remedy: str


def top(line: str) -> str:
    """A trigger file with one more line (5) before its job."""
    return HEAD + line + "\n" + DOCKER


def task(lines: str) -> str:
    """A trigger file whose task has more keys, from line 13 on."""
    return HEAD + DOCKER + "".join(f"      {line}\n" for line in lines.splitlines())


def params(lines: str) -> str:
    """A trigger file whose Docker engine has more parameters, from line 13 on."""
    return HEAD + DOCKER + "".join(f"          {line}\n" for line in lines.splitlines())


def job(lines: str) -> str:
    """A trigger file with this job from line 6 on."""
    return HEAD + "job:\n" + "".join(f"  {line}\n" for line in lines.splitlines())


TASKS = "Tasks: [{Name: main, Engine: {Type: docker, Params: {Image: x}}}]"
T = "job.Tasks[0]"

BAD = {
    # Reading
    "empty": Bad("", "-:", "empty", "apiVersion"),
    "only a comment": Bad("# nothing\n", "-:", "not a mapping", "apiVersion"),
    "a list": Bad("- 1\n", "1:", "a list, not a mapping", "apiVersion"),
    "two documents": Bad(top("") + "---\na: 1\n", "14:", "second document", "file of its own"),
    "a tab": Bad("kind: cron\n\tname: x\n", "2:", "tab", "spaces"),
    "not closed": Bad("kind: [cron\nname: x\n", "2:", "not YAML", "brackets"),
    "a bare *": Bad("a: */5 * * * *\n", "1:", "begins with *", "in quotes"),
    "bad indentation": Bad("a: 1\n  b: 2\n", "2:", "not YAML", "indentation"),
    "a key twice": Bad(HEAD + "name: u\n", "5:name", "twice, first in line 3", "Remove one"),
    "a number as a key": Bad(top("5: x"), "5:", "key 5 is not text", "'5'"),
    "a list as a key": Bad(top("[a]: x"), "5:", "key must be text", "plain word"),
    "true as a key": Bad(top("true: x"), "5:", "key true is not text", "'true'"),
    "a tag": Bad(top("paused: !!python/object:os.system x"), "5:paused", "tags", "Remove the tag"),
    "a merge key": Bad(top("<<: {a: 1}"), "5:", "merge keys", "Write the keys out"),
    "an unknown alias": Bad(top("paused: *p"), "5:", "undefined alias", "anchor"),
    "a loop of aliases": Bad(top("paused: &a [*a]"), "5:paused[0]", "refers to itself", "Remove"),
    "NUL": Bad(top('description: "a\\0b"'), "5:description", "NUL", "Remove it"),
    "a huge number": Bad(top("priority: 99999999999999999999"), "5:priority", "whole", "digits"),
    "more than 64 bits": Bad(
        top("priority: 9999999999999999999"), "5:priority", "64 bits", "quotes"
    ),
    "JSON cut off": Bad('{"kind": "cron",\n "name": ', "2:", "not JSON", "commas"),
    "a JSON key twice": Bad('{"kind": "cron",\n "kind": "x"}', "2:kind", "twice", "Remove one"),
    # The trigger
    "no version": Bad("kind: cron\nname: t\n" + DOCKER, "1:", "apiVersion is missing", "orch/v1"),
    "another version": Bad(
        "apiVersion: orch/v2\nkind: cron\nname: t\n" + DOCKER, "1:apiVersion", "orch/v2", "orch/v1"
    ),
    "no kind": Bad("apiVersion: orch/v1\nname: t\n" + DOCKER, "1:", "kind is missing", "cron"),
    "unknown kind": Bad(
        "apiVersion: orch/v1\nkind: corn\nname: t\n" + DOCKER, "2:kind", "'corn'", "'cron'"
    ),
    "no name": Bad("apiVersion: orch/v1\nkind: cron\n" + DOCKER, "1:", "name is missing", "name:"),
    "a name with a space": Bad(
        HEAD.replace("name: t", "name: my job") + DOCKER, "3:name", "'my job'", "letters"
    ),
    "a number as a name": Bad(
        HEAD.replace("name: t", "name: 7") + DOCKER, "3:name", "7", "letters"
    ),
    "no job": Bad(HEAD, "1:", "job is missing", "Add job"),
    "a job that is text": Bad(HEAD + "job: x\n", "5:job", "not the text 'x'", "Tasks"),
    "unknown setting": Bad(top("shedule: '* * * * *'"), "5:shedule", "unknown key", "'schedule'"),
    "another kind's setting": Bad(top("topic: x"), "5:topic", "unknown key 'topic'", "Known"),
    "a job's key outside": Bad(top("Count: 1"), "5:Count", "unknown key", "below job:"),
    "unknown overlap": Bad(top("overlap: skipp"), "5:overlap", "'skipp'", "'skip'"),
    "a timeout without unit": Bad(top("timeout: 300"), "5:timeout", "unit", "300s"),
    "a negative timeout": Bad(top("timeout: -5m"), "5:timeout", "negative", "5m"),
    "no timeout at all": Bad(top("timeout: 0s"), "5:timeout", "outside", "longer than 0"),
    "a timeout of a year": Bad(top("timeout: 365d"), "5:timeout", "outside", "at most 30d"),
    "units mixed up": Bad(top("catch_up: 5m1h"), "5:catch_up", "mixes up", "1h30m"),
    "retry as a number": Bad(top("retry: 5"), "5:retry", "mapping", "max_attempts"),
    "unknown retry key": Bad(
        top("retry: {attempts: 5}"), "5:retry.attempts", "unknown", "max_attempts"
    ),
    "no attempt": Bad(
        top("retry: {max_attempts: 0}"), "5:retry.max_attempts", "outside", "Write 1"
    ),
    "a shrinking backoff": Bad(
        top("retry: {backoff: {initial: 10s, max: 1s}}"), "5:retry.backoff.max", "shorter", "10s"
    ),
    "a factor below one": Bad(
        top("retry: {backoff: {factor: 0.5}}"), "5:retry.backoff.factor", "1 to 100", "2"
    ),
    "yes is text": Bad(top("paused: yes"), "5:paused", "the text 'yes'", "true or false"),
    "parallelism 0": Bad(top("parallelism: 0"), "5:parallelism", "outside", "Write 1"),
    "rate as text": Bad(top("rate: 10/s"), "5:rate", "runs per second", "10"),
    "a callback to nobody": Bad(
        top("callbacks: {on_success: {}}"), "5:callbacks.on_success", "url and trigger", "url:"
    ),
    "a callback to a file": Bad(
        top("callbacks: {on_success: {url: 'file:///etc/passwd'}}"),
        "5:callbacks.on_success.url",
        "not an http",
        "https://",
    ),
    "a reserved label": Bad(top("labels: {orch.run: x}"), "5:labels[", "orchestrator's", "prefix"),
    # The job
    "no type": Bad(job(TASKS), "5:job", "Type is missing", "Add Type"),
    "a service": Bad(job("Type: service\n" + TASKS), "6:job.Type", "never ends", "batch"),
    "a daemon": Bad(job("Type: daemon\n" + TASKS), "6:job.Type", "never ends", "batch"),
    "unknown type": Bad(job("Type: bacth\n" + TASKS), "6:job.Type", "'bacth'", "'batch'"),
    "count 0": Bad(job("Type: batch\nCount: 0\n" + TASKS), "7:job.Count", "outside", "Write 1"),
    "a count in quotes": Bad(
        job('Type: batch\nCount: "2"\n' + TASKS), "7:job.Count", "whole number", "without quotes"
    ),
    "ops with a count": Bad(
        job("Type: ops\nCount: 2\n" + TASKS), "7:job.Count", "all nodes", "Remove"
    ),
    "a name with a slash": Bad(
        job("Type: batch\nName: a/b\n" + TASKS), "7:job.Name", "cannot find it again", "dashes"
    ),
    "no task": Bad(job("Type: batch\nTasks: []"), "7:job.Tasks", "no task", "Add one"),
    "two tasks": Bad(
        job(f"Type: batch\n{TASKS[:-1]}, {{Name: b, Engine: {{Type: wasm}}}}]"),
        "7:job.Tasks[1]",
        "silently drops",
        "trigger of its own",
    ),
    "a key in lower case": Bad(job("type: batch\n" + TASKS), "6:job.type", "unknown key", "'Type'"),
    "the node's own key": Bad(
        job("Type: batch\nVersion: 1\n" + TASKS), "7:job.Version", "set by the node", "Remove"
    ),
    "reserved meta": Bad(
        job("Type: batch\nMeta: {bacalhau.org/x: y}\n" + TASKS), "7:job.Meta[", "drops", "prefix"
    ),
    "a reserved job label": Bad(
        job("Type: batch\nLabels: {orch.run: x}\n" + TASKS), "7:job.Labels[", "own", "prefix"
    ),
    "a label that is a number": Bad(
        job("Type: batch\nLabels: {a: 1}\n" + TASKS), "7:job.Labels.a", "the number 1", '"1"'
    ),
    "an unknown operator": Bad(
        job("Type: batch\nConstraints: [{Key: z, Operator: equals, Values: [a]}]\n" + TASKS),
        "7:job.Constraints[0].Operator",
        "'equals'",
        "Known are ",
    ),
    "two values for =": Bad(
        job("Type: batch\nConstraints: [{Key: z, Operator: =, Values: [a, b]}]\n" + TASKS),
        "7:job.Constraints[0]",
        "exactly one",
        "in and notin",
    ),
    "in without values": Bad(
        job("Type: batch\nConstraints: [{Key: z, Operator: in}]\n" + TASKS),
        "7:job.Constraints[0]",
        "needs Values",
        "Add",
    ),
    # The task
    "an unknown engine": Bad(
        HEAD + DOCKER.replace("docker", "dokcer"),
        "10:job.Tasks[0].Engine.Type",
        "'dokcer'",
        "'docker'",
    ),
    "no image": Bad(
        HEAD + DOCKER.replace("Image", "Imgae"), f"12:{T}.Engine.Params.Imgae", "unknown", "'Image'"
    ),
    "a command that is text": Bad(
        params("Parameters: echo hi"), f"13:{T}.Engine.Params.Parameters", "a list", "- item"
    ),
    "a number as an argument": Bad(
        params("Parameters: [5]"), f"13:{T}.Engine.Params.Parameters[0]", "the number 5", '"5"'
    ),
    "an unknown task key": Bad(
        task("Enviroment: {A: b}"), f"13:{T}.Enviroment", "unknown", "Known"
    ),
    "a number in Env": Bad(task("Env: {PORT: 80}"), f"13:{T}.Env.PORT", "the number 80", '"80"'),
    "a small variable": Bad(task("Env: {port: a}"), f"13:{T}.Env.port", "not a name", "PORT"),
    "an empty variable": Bad(task("Env: {A: ''}"), f"13:{T}.Env.A", "empty", "Leave"),
    "our variable": Bad(task("Env: {ORCH_X: a}"), f"13:{T}.Env.ORCH_X", "orchestrator", "another"),
    "the node's variable": Bad(task("Env: {BACALHAU_X: a}"), f"13:{T}.Env.", "node", "another"),
    "timeouts that contradict": Bad(
        task("Timeouts: {ExecutionTimeout: 10, QueueTimeout: 10, TotalTimeout: 5}"),
        f"13:{T}.Timeouts.TotalTimeout",
        "20 s",
        "Leave it out",
    ),
    "a timeout in words": Bad(
        task("Timeouts: {ExecutionTimeout: 5m}"), f"13:{T}.Timeouts.", "whole number", "digits"
    ),
    "results without publisher": Bad(
        task("ResultPaths: [{Name: o, Path: /o}]"), f"13:{T}.ResultPaths", "nowhere", "Publisher"
    ),
    "a relative result": Bad(
        task("Publisher: {Type: local}\nResultPaths: [{Name: o, Path: out}]"),
        f"14:{T}.ResultPaths[0].Path",
        "absolute",
        "/out",
    ),
    "an unknown publisher": Bad(
        task("Publisher: {Type: lokal}"), f"13:{T}.Publisher.Type", "publisher 'lokal'", "'local'"
    ),
    "an unknown network": Bad(
        task("Network: {Type: Hots}"), f"13:{T}.Network.Type", "'Hots'", "'Host'"
    ),
    "domains on the host": Bad(
        task("Network: {Type: Host, Domains: [a.org]}"), f"13:{T}.Network.Domains", "HTTP", "HTTP"
    ),
    "a URL as a domain": Bad(
        task("Network: {Type: HTTP, Domains: ['https://a.org/']}"),
        f"13:{T}.Network.Domains[0]",
        "not a domain",
        "example.org",
    ),
    "memory in words": Bad(
        task("Resources: {Memory: much}"), f"13:{T}.Resources.Memory", "'much'", "512MB"
    ),
    "CPU as a number": Bad(task("Resources: {CPU: 1}"), f"13:{T}.Resources.CPU", "text", '"1"'),
    "an unknown input": Bad(
        task("InputSources: [{Target: /in, Source: {Type: s3, Params: {Buckte: b}}}]"),
        f"13:{T}.InputSources[0].Source.Params.Buckte",
        "unknown key",
        "'Bucket'",
    ),
    "an unknown source": Bad(
        task("InputSources: [{Target: /in, Source: {Type: http}}]"),
        f"13:{T}.InputSources[0].Source.Type",
        "'http'",
        "urlDownload",
    ),
    "a relative target": Bad(
        task("InputSources: [{Target: in, Source: {Type: ipfs, Params: {CID: c}}}]"),
        f"13:{T}.InputSources[0].Target",
        "absolute",
        "/in",
    ),
    "a reserved target": Bad(
        task("InputSources: [{Target: /orch/x, Source: {Type: ipfs, Params: {CID: c}}}]"),
        f"13:{T}.InputSources[0].Target",
        "orchestrator",
        "/in",
    ),
    "a target twice": Bad(
        task(
            "InputSources:\n"
            "- {Target: /in, Source: {Type: ipfs, Params: {CID: c}}}\n"
            "- {Target: /in/, Source: {Type: ipfs, Params: {CID: d}}}"
        ),
        f"15:{T}.InputSources[1].Target",
        "InputSources[0]",
        "of its own",
    ),
    "an inline that is no data URL": Bad(
        task("InputSources: [{Target: /in, Source: {Type: inline, Params: {URL: hello}}}]"),
        f"13:{T}.InputSources[0].Source.Params.URL",
        "not a data: URL",
        "data:text/plain",
    ),
    "a download from a file": Bad(
        task(
            "InputSources: [{Target: /i, Source: {Type: urlDownload, Params: {URL: 'file:///x'}}}]"
        ),
        f"13:{T}.InputSources[0].Source.Params.URL",
        "not an http",
        "https://",
    ),
    # Modules
    "a module that is not there": Bad(
        HEAD
        + DOCKER.replace("docker", "wasm").replace("Image: busybox:1", "EntryModule: ./no.wasm"),
        f"12:{T}.Engine.Params.EntryModule",
        "No such file",
        "relative to the file",
    ),
    "a target that is not there": Bad(
        HEAD + DOCKER.replace("docker", "wasm").replace("Image: busybox:1", "EntryModule: /t.wasm"),
        f"12:{T}.Engine.Params.EntryModule",
        "no input source",
        "./task.wasm",
    ),
    # Placeholders
    "an unknown path": Bad(
        task("Env: {A: '${{ firing.tiem }}'}"), f"13:{T}.Env.A", "firing.tiem", "'firing.time'"
    ),
    "a path that is none": Bad(task("Env: {A: '${{ a b }}'}"), f"13:{T}.Env.A", "'a b'", "dots"),
    "not closed braces": Bad(task("Env: {A: '${{ firing.time'}"), f"13:{T}.Env.A", "}}", "$${{"),
    "a placeholder in a key": Bad(
        task("Meta: {'${{ firing.key }}': a}"), f"13:{T}.Meta[", "never filled in", "value"
    ),
    "a placeholder as a type": Bad(
        job("Type: ${{ firing.key }}\n" + TASKS), "6:job.Type", "cannot stand here", "itself"
    ),
    "text beside a number": Bad(
        job("Type: batch\nCount: '1${{ run.attempt }}'\n" + TASKS),
        "7:job.Count",
        "whole number",
        "nothing beside",
    ),
    "a secret": Bad(
        task("Env: {A: '${{ secret.KEY }}'}"), f"13:{T}.Env.A", "for ever", "allow_static_secrets"
    ),
    "a secret without a name": Bad(
        task("Env: {A: '${{ secret }}'}"), f"13:{T}.Env.A", "name of a secret", "secret.NAME"
    ),
    "data in sh -c": Bad(
        params("Entrypoint: [sh, -c]\nParameters: ['echo ${{ event.name }}']"),
        f"14:{T}.Engine.Params.Parameters[0]",
        "event.name",
        "allow_shell_data",
    ),
    "data that names a host variable": Bad(
        task("Env: {A: 'env:${{ event.name }}'}"), f"13:{T}.Env.A", "node's own variables", "env:"
    ),
    "data as a variable's name": Bad(
        params("EnvironmentVariables: ['${{ event.a }}=1']"),
        f"13:{T}.Engine.Params.EnvironmentVariables[0]",
        "must stand in the file",
        "NAME=",
    ),
}


def problems_of(text: str, tmp_path) -> list[specs.Problem]:
    """Take a file all the way, as registering does."""
    known = specs.BASE_PATHS.extended(outside=("event.*",))
    try:
        trigger = specs.parse_trigger(
            specs.load(text, file="t.yaml"), settings=SETTINGS.get, kinds=SETTINGS
        )
        specs.prepare(trigger, base_dir=tmp_path, known=known)
    except specs.SpecError as error:
        return error.problems
    return []


@pytest.mark.parametrize("name", BAD)
def test_bad_file(name, tmp_path):
    """A wrong file is refused, and one problem has the place, the words and the remedy."""
    bad = BAD[name]
    found = problems_of(bad.text.replace("\r", ""), tmp_path)
    line, _, path = bad.place.partition(":")
    matching = [
        problem
        for problem in found
        if str(problem.line or "-") == line
        and (bad.words in problem.message)
        and bad.remedy in problem.remedy
        and specs_path(problem).startswith(path)
    ]
    assert matching, "\n".join(map(str, found)) or "nothing was refused"
    if name != "two tasks":
        assert found == matching, "one mistake is told once"


def specs_path(problem: specs.Problem) -> str:
    """The problem's path as it is shown."""
    text = str(problem)
    after = text.split(": ", 1)[1]
    return after.split(": ", 1)[0] if problem.path else ""


def test_good_file_is_taken(tmp_path):
    """What the bad files are made of is itself right."""
    assert problems_of(HEAD + DOCKER, tmp_path) == []


def test_all_problems_at_once(tmp_path):
    """A file with several mistakes is told all of them, in the file's order."""
    found = problems_of(
        top("tiemout: 5m").replace("every", "evry").replace("kind: cron", "kind: corn"), tmp_path
    )
    assert [problem.line for problem in found] == [2]
    found = problems_of(top("tiemout: 5m").replace("every", "evry"), tmp_path)
    assert [problem.line for problem in found] == [4, 5]
    found = problems_of(
        HEAD + DOCKER.replace("docker", "dokcer").replace("batch", "bach"), tmp_path
    )
    assert [problem.line for problem in found] == [6, 10]


def test_problem_reads_as_one_line():
    """A problem shows file, line, column, path, reason and remedy on one line."""
    text = HEAD + DOCKER.replace("docker", "dokcer")
    trigger = specs.parse_trigger(specs.load(text, file="job.yaml"), settings=SETTINGS.get)
    with pytest.raises(specs.SpecError) as caught:
        specs.prepare(trigger, base_dir=None)
    assert str(caught.value) == (
        "job.yaml:10:9: job.Tasks[0].Engine.Type: unknown engine 'dokcer': did you mean 'docker'?"
    )


@pytest.mark.parametrize("key", ["top", "job", "arguments"])
def test_many_mistakes(key, tmp_path):
    """Work on a file full of mistakes is bounded, wherever they are."""
    many = {f"k{index}": 1 for index in range(20_000)}
    data = yaml.safe_load(HEAD + DOCKER)
    if key == "top":
        data |= many
    elif key == "job":
        data["job"] |= many
    else:
        data["job"]["Tasks"][0]["Engine"]["Params"]["Entrypoint"] = [
            "su",
            "${{ event.a }}",
        ] * 20_000
    found = problems_of(json.dumps(data), tmp_path)
    assert 1 <= len(found) <= 50
