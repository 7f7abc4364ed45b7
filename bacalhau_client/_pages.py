"""Walking through a list that comes in pages."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from bacalhau_client._errors import MalformedResponse
from bacalhau_client._models import Page

T = TypeVar("T")

MAX_PAGES = 100
MAX_ITEMS = 100_000


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


def collect(first: Page[T], fetch: Callable[[str], Page[T]]) -> Page[T]:
    """A page with everything that follows it; ``fetch`` takes the token of a following page.

    MalformedResponse for more than ``MAX_PAGES`` pages or ``MAX_ITEMS`` items: a part of a list
    taken for the whole would be worse than no answer.
    """
    if not first.next_token:
        return first
    pages = items = 0

    def bounded(token: str | None) -> Page[T]:
        nonlocal pages, items
        page = fetch(token) if token else first
        pages, items = pages + 1, items + len(page)
        if pages > MAX_PAGES or items > MAX_ITEMS:
            raise MalformedResponse(f"a list of more than {MAX_PAGES} pages or {MAX_ITEMS} items")
        return page

    return Page(items=tuple(walk(bounded)))
