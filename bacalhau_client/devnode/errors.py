"""The API's errors: one exception, and the bodies that a real node sends."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that is not a success; `body` is its JSON object."""

    def __init__(self, status: int, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "Status": status,
            "Message": message,
            "RequestID": "",
            "Code": fields.pop("code", ""),
            "Component": fields.pop("component", "Bacalhau"),
            **fields,
        }


def invalid(message: str) -> ApiError:
    """A request that does not even look right."""
    return ApiError(400, message, code="InternalError", component="APIServer")


def refused(message: str) -> ApiError:
    """A job that reads well and contradicts itself."""
    return ApiError(400, message, code="BadRequest", component="JobStore")


def not_found(job: str) -> ApiError:
    """No job of that id or name."""
    return ApiError(404, f"job not found: {job}", code="NotFound", component="JobStore")


def version_not_found(job_id: str, version: int) -> ApiError:
    """A job without that version."""
    return ApiError(
        404,
        f"job version {version} not found for job {job_id}",
        code="NotFound",
        component="JobStore",
    )


def node_not_found(node: str) -> ApiError:
    """No compute node of that id."""
    return ApiError(404, f"node not found: {node}", code="NotFound", component="NodeStore")


def unknown_path() -> ApiError:
    """A path that the API does not have."""
    return ApiError(
        404,
        "The requested resource/URL was not found.",
        code="NotFound",
        component="APIServer",
        Hint="The server version may be older than this CLI version and does not support the "
        "endpoint yet.",
        Details={
            "cli_usage": "If you are using the CLI, try updating your server to a newer version "
            "or check if the command is supported in your server version."
        },
    )


def too_large() -> ApiError:
    """A body over the limit."""
    return ApiError(413, "Request Entity Too Large", code="InternalError", component="APIServer")


def internal() -> ApiError:
    """The answer to what the node did not expect."""
    return ApiError(500, "Internal server error", code="InternalError", component="Unknown")


def no_changes(name: str, job_id: str) -> ApiError:
    """The same bytes again."""
    return ApiError(
        500,
        f"no changes detected for new job spec. Job Name: '{name}', Job Id: '{job_id}'",
        Hint="Use the --force flag to override this warning",
    )


def name_in_use(name: str, namespace: str) -> ApiError:
    """Two submissions of one name at once."""
    return ApiError(
        409,
        f"job name {name} already exists in namespace {namespace}",
        code="ResourceInUse",
        component="JobStore",
    )


def conflict(message: str) -> ApiError:
    """A change that the job's state does not allow."""
    return ApiError(500, message, code="ConflictJobState", component="JobStore")


def unauthorized(reason: str) -> ApiError:
    """No credentials, or wrong ones."""
    return ApiError(
        401,
        "Request Unauthorized",
        code="Unauthorized",
        component="Authorizer",
        Hint="Unauthorized principal. Event has been recorded.",
        Details={"reason": reason},
    )


def forbidden(user: str, capability: str) -> ApiError:
    """Right credentials without the capability."""
    return ApiError(
        403,
        "Request Forbidden",
        code="Forbidden",
        component="Authorizer",
        Hint="Check if user have access to this resource. Event has been recorded.",
        Details={"reason": f"user '{user}' does not have the required capability '{capability}'"},
    )
