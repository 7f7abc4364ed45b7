"""A local node with Bacalhau's HTTP API, for trying things out and for tests.

It runs WASM tasks with wasmtime, Docker tasks where a Docker daemon answers, and local commands
that stand for images. See `config.DevNodeConfig` for what it can be told, `cli` for the command
line.
"""

from .cli import main, serve
from .config import ComputeNode, ConfigError, DevNodeConfig, User
from .node import DevNode

__all__ = ["ComputeNode", "ConfigError", "DevNode", "DevNodeConfig", "User", "main", "serve"]
