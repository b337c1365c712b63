"""Jobs side by side: several at work in threads, what they give taken in by the caller's own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from fastrcaps_dse.errors import BudgetSpent

Job = tuple[Callable[[], Any], Callable[[Any], None]]
"""What is to be done, in any thread, and what takes in its result, in the caller's."""


def side_by_side(width: int, next_job: Callable[[], Job | None], abandon: Callable[[], None] = lambda: None) -> None:
    """Do jobs, up to `width` at once, until `next_job` has none and none is under way. One at a time, all is done in place.

    Where `next_job` or a job says BudgetSpent, the others come to their end before it is raised. On any other error, and
    where the caller is interrupted, `abandon` has to end those under way.
    """
    if width == 1:
        while (job := next_job()) is not None:
            work, finish = job
            finish(work())
        return
    under_way: dict[Future[Any], Callable[[Any], None]] = {}
    spent: BudgetSpent | None = None
    with ThreadPoolExecutor(width) as pool:
        try:
            while True:
                while spent is None and len(under_way) < width:
                    try:
                        job = next_job()
                    except BudgetSpent as error:
                        spent = error
                        break
                    if job is None:
                        break
                    under_way[pool.submit(job[0])] = job[1]
                if not under_way:
                    break
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    finish = under_way.pop(future)
                    try:
                        result = future.result()
                    except BudgetSpent as error:
                        spent = error
                        continue
                    finish(result)
        except BaseException:
            abandon()
            raise
    if spent is not None:
        raise spent
