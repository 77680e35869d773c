"""Many prompts to one server, several at a time; on a failure or Ctrl-C nothing begins and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from clo.errors import UserError
from clo.server.cache import ReplyCache
from clo.server.client import Client
from clo.server.endpoint import Sampling
from clo.server.faults import BudgetSpent, Refused, Stopped
from clo.server.reply import Reply

Task = TypeVar("Task")
Done = TypeVar("Done")

SILENT = 20
"""A server whose first so many replies hold no text is not asked on; assumed."""


def each(
    tasks: Iterable[Task],
    work: Callable[[Task], Done],
    finished: Callable[[Task, Future[Done]], None],
    parallel: int,
    stop: threading.Event,
) -> None:
    """Work on every task in threads.

    Args:
        tasks: what to do.
        work: does one; runs in a thread.
        finished: told of each in this thread, as they end; an exception from it ends all.
        parallel: tasks at a time.
        stop: set when a task ends in a UserError or a spent budget, or this thread is stopped. What is under way is
            waited for.
    """

    def guarded(task: Task) -> Done:
        try:
            return work(task)
        except (BudgetSpent, UserError):
            stop.set()  # here, so that this thread does not begin another task first
            raise

    pool = ThreadPoolExecutor(parallel, thread_name_prefix="server")
    try:
        futures = {pool.submit(guarded, task): task for task in tasks}
        for future in as_completed(futures):
            finished(futures[future], future)
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class Asker:
    """Prompts to one server.

    Args:
        client: the server.
        parallel: calls at a time.
        folder: where every reply is kept the moment it comes, so that nothing is asked twice; None keeps none.
    """

    def __init__(self, client: Client, parallel: int, folder: Path | None = None) -> None:
        self.client, self.parallel, self.folder = client, parallel, folder
        self._caches: dict[Sampling, ReplyCache] = {}
        self._spoke, self._silent = False, 0

    def replies(self, prompts: Sequence[str], sampling: Sampling) -> list[Reply | Refused]:
        """What the server says to each prompt, in their order; or that it refuses this one.

        Raises:
            UserError: the server fails, none of its first replies holds text, or the budget is spent. Replies that
                came are kept.
        """
        cache = self._cache(sampling)
        kept = {} if cache is None else {prompt: cache.get(prompt) for prompt in prompts}
        found: dict[str, Reply | Refused] = {prompt: reply for prompt, reply in kept.items() if reply is not None}
        self._spoke |= bool(found)

        def work(prompt: str) -> Reply:
            reply = self.client.reply(prompt, sampling)
            if cache is not None and not reply.silent:  # a server that is mended is asked again
                cache.add(prompt, reply)
            return reply

        def finished(prompt: str, future: Future[Reply]) -> None:
            try:
                found[prompt] = future.result()
                self._hear(future.result())
            except Refused as refused:
                found[prompt] = refused
            except Stopped:
                return  # the reason comes from another thread

        left = [prompt for prompt in dict.fromkeys(prompts) if prompt not in found]
        try:
            each(left, work, finished, self.parallel, self.client.stop)
        except BudgetSpent:
            purpose = self.client.endpoint.purpose
            raise UserError(
                f"the budget of {self.client.budget} calls to the {purpose.what} is spent; the {purpose.kept} so far "
                "are kept, the same command with a larger budget= goes on"
            ) from None
        return [found[prompt] for prompt in prompts]

    def _cache(self, sampling: Sampling) -> ReplyCache | None:
        if self.folder is None:
            return None
        if sampling not in self._caches:
            place = self.client.endpoint
            self._caches[sampling] = ReplyCache(self.folder, place.settings(sampling), place.purpose.what)
        return self._caches[sampling]

    def _hear(self, reply: Reply) -> None:
        self._spoke |= not reply.silent
        self._silent += reply.silent
        if not self._spoke and self._silent >= SILENT:
            place = self.client.endpoint
            raise UserError(
                f"{place.who()} replies without text (content is null, {self._silent} times in a row); see "
                f"{place.purpose.model}= (one that thinks first may come to no text)"
            )
