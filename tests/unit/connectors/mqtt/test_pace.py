"""What a broker gives at once is learnt by watching it."""

from __future__ import annotations

from connectors.mqtt.pace import Pace


class _Broker:
    """Gives `limit` messages before it hears of them, and has enough of them."""

    def __init__(self, pace: Pace, limit: int) -> None:
        self.pace, self.limit, self.ticks = pace, limit, 0.0

    def window(self, *, gap: float = 0.001, held: float = 1.0, answer: float = 0.005) -> None:
        """A batch: messages come, nothing more comes, it goes, and the broker is told."""
        for number in range(self.limit):
            self.ticks += answer if not number else gap
            self.pace.came(self.ticks, number + 1)
        self.ticks += held
        self.pace.went(self.ticks, self.limit)
        self.ticks += 0.002
        self.pace.told(self.ticks)


def test_a_limit_is_known_once_it_was_seen_twice():
    """Each time all came to a stop, and went on as soon as the broker was told."""
    pace = Pace()
    broker = _Broker(pace, 20)
    for _ in range(2):
        broker.window()
        assert pace.ceiling is None
    broker.window()
    assert pace.ceiling == 20


def test_a_higher_limit_is_noticed():
    """More messages than the limit are on their way: it is another one."""
    pace = Pace()
    broker = _Broker(pace, 20)
    for _ in range(4):
        broker.window()
    broker.limit = 50
    broker.window(held=0.0)
    assert pace.ceiling is None


def test_messages_that_are_rare_are_no_limit():
    """As many each time by chance, but none that was held back."""
    pace = Pace()
    broker = _Broker(pace, 20)
    for _ in range(5):
        broker.window(answer=0.5)
    assert pace.ceiling is None


def test_a_few_messages_are_no_limit():
    """Small numbers meet by chance."""
    pace = Pace()
    broker = _Broker(pace, 3)
    for _ in range(5):
        broker.window()
    assert pace.ceiling is None


def test_a_stream_that_does_not_stop_is_no_limit():
    """The window was over while messages came."""
    pace = Pace()
    broker = _Broker(pace, 20)
    for _ in range(5):
        broker.window(held=0.0)
    assert pace.ceiling is None
