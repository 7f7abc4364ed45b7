"""Job templates: trigger files and Bacalhau jobs, read, checked and rendered.

A file goes `load` → `parse_trigger` (or `wrap_job`) → `prepare` → `compile_template`, and each
attempt is `Template.render`. What is wrong is told by

    SpecError                a file or job that cannot be used; a list of `Problem`
    RenderError              a job that cannot be rendered for one run
    └── TooLargeError        because of its size

The package imports nothing else of the project.
"""

from specs._blocks import Blocks
from specs._document import MAX_TEXT, Document, from_data, load
from specs._durations import MAX_DURATION, duration, format_duration
from specs._expressions import escape
from specs._inputs import RUN_SOURCES, InlineInput
from specs._jsonschema import job_schema, policies_schema
from specs._library import default_job, library, library_path, task_images, task_path, templates
from specs._paths import BASE_PATHS, KnownPaths
from specs._placeholders import Placeholder, placeholders
from specs._policies import Callback, Policies, Retry
from specs._policy_reader import POLICY_KEYS, is_web_address, policies_to_json
from specs._prepare import prepare
from specs._problems import Problem, SpecError, dotted, nearest, sentence
from specs._render import (
    HARD_CAP,
    LABEL_SPEC,
    MAX_SPEC,
    Rendered,
    RenderError,
    Template,
    TooLargeError,
    compile_template,
)
from specs._trigger import (
    API_VERSION,
    NAME_PATTERN,
    TriggerFile,
    is_job,
    is_name,
    parse_trigger,
    wrap_job,
)
from specs._validate import validate_job

__all__ = [
    "API_VERSION",
    "BASE_PATHS",
    "HARD_CAP",
    "LABEL_SPEC",
    "MAX_DURATION",
    "MAX_SPEC",
    "MAX_TEXT",
    "NAME_PATTERN",
    "POLICY_KEYS",
    "RUN_SOURCES",
    "Blocks",
    "Callback",
    "Document",
    "InlineInput",
    "KnownPaths",
    "Placeholder",
    "Policies",
    "Problem",
    "RenderError",
    "Rendered",
    "Retry",
    "SpecError",
    "Template",
    "TooLargeError",
    "TriggerFile",
    "compile_template",
    "default_job",
    "dotted",
    "duration",
    "escape",
    "format_duration",
    "from_data",
    "is_job",
    "is_name",
    "is_web_address",
    "job_schema",
    "library",
    "library_path",
    "load",
    "nearest",
    "parse_trigger",
    "placeholders",
    "policies_schema",
    "policies_to_json",
    "prepare",
    "sentence",
    "task_images",
    "task_path",
    "templates",
    "validate_job",
    "wrap_job",
]
