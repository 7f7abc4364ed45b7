"""What the package shows, and what importing it costs."""

import subprocess
import sys
import types

import bacalhau_client

EXPORTED = set(bacalhau_client.__all__)


def test_every_public_name_is_exported_and_every_exported_name_exists() -> None:
    """``__all__`` holds every public class of the private modules, and nothing else."""
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("bacalhau_client._") and isinstance(module, types.ModuleType)
    ]
    public = {
        name
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    internal = {"Transport", "Endpoint", "Fields", "ShapeError", "HandshakeError"}

    assert public - internal == EXPORTED
    assert all(hasattr(bacalhau_client, name) for name in EXPORTED)


def test_all_is_sorted_and_without_repeats() -> None:
    """``__all__`` reads as a list of contents."""
    assert bacalhau_client.__all__ == sorted(EXPORTED)


def test_import_alone_pulls_in_nothing_of_the_project_and_nothing_heavy() -> None:
    """A program that only wants the client pays for requests and tenacity alone."""
    code = "import sys, bacalhau_client; print('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )

    loaded = set(result.stdout.split())
    tops = {name.partition(".")[0] for name in loaded}
    assert "requests" in tops
    assert not tops & {"orchestrator", "connectors", "specs"}
    assert not tops & {"websockets", "boto3", "wasmtime", "sqlalchemy", "pydantic", "asyncio"}
    assert not [name for name in loaded if name.startswith("bacalhau_client.devnode")]


def test_errors_are_drawn_in_their_module() -> None:
    """The tree in the docstring names every exception."""
    from bacalhau_client import _errors

    drawn = _errors.__doc__ or ""
    names = {
        name
        for name, value in vars(_errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert {name for name in names if name not in drawn} == set()
