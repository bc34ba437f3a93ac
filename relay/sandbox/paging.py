"""Long lists in pages: by the number of the last row one has, so a page costs the same wherever it is in the list.

A page that is not the last names the next one in the header ``Link``, as many APIs do: who follows it has everything.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TypeVar
from urllib.parse import urlencode

PAGE = 1_000  # rows, where nobody says how many; 300 kB of usual messages
LONGEST_PAGE = 10_000

_Row = TypeVar("_Row")


def page_of(
    rows: Sequence[_Row],
    number: Callable[[_Row], int],
    query: Mapping[str, str],
    wanted: Callable[[_Row], bool] = lambda _: True,
) -> tuple[list[_Row], dict[str, str]]:
    """The wanted rows with a number beyond ``after``, as many as ``limit``, and the headers that go with them.

    ``rows`` are in the order of their numbers. Raises ValueError where one of the two is no whole number.
    """
    after, limit = int(query.get("after", 0)), min(max(int(query.get("limit", PAGE)), 0), LONGEST_PAGE)
    found = (row for row in islice(rows, bisect_right(rows, after, key=number), None) if wanted(row))
    page = list(islice(found, limit))
    if not page or next(found, None) is None:
        return page, {}
    following = urlencode({**query, "after": number(page[-1]), "limit": limit})
    return page, {"Link": f'<?{following}>; rel="next"'}
