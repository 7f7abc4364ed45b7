"""What is done better than kafka-python does it by itself."""

from __future__ import annotations

from connectors.kafka.cluster_python import Received, to_the_end


def test_what_came_before_the_end_of_a_connection_is_read() -> None:
    """The broker's last word, such as why it refuses a password, comes before its hanging up."""
    end = ConnectionError("gone")
    given: list[Received] = [(b"one", None), (b"", None), (b"two", end)]
    receive = to_the_end(lambda: given.pop(0))
    assert [receive() for _ in range(4)] == [
        (b"one", None),
        (b"", None),
        (b"two", None),
        (b"", end),
    ]
