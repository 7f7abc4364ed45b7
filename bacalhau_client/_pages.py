"""Walking through a list that comes in pages."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from bacalhau_client._errors import MalformedResponse
from bacalhau_client._models import Page

T = TypeVar("T")


def walk(fetch: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """Every item of every page; each page is fetched when it is needed.

    ``fetch`` takes the token of a page, None for the first. MalformedResponse for a token that
    comes again, which would go on for ever.
    """
    token: str | None = None
    seen: set[str] = set()
    while True:
        page = fetch(token)
        yield from page.items
        token = page.next_token
        if not token:
            return
        if token in seen:
            raise MalformedResponse("the list's next token came a second time")
        seen.add(token)
