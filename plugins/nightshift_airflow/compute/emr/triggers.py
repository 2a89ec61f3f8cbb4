"""What waits in the triggerer while a task holds no worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from nightshift.errors import NightshiftError, StorageError
from nightshift.jobs.distant import Told
from nightshift_airflow.compute.emr import waiting
from nightshift_airflow.compute.emr.account import Account, in_our_words
from nightshift_airflow.compute.emr.waiting import Look, Patience
from nightshift_airflow.compute.task_log import TaskLog

CLIENT_SECONDS = 600.0


class WaiterTrigger(BaseTrigger):
    """Looks by one of the provider's waiters until it is over, and tells the job's log lines meanwhile.

    It never fails: what went wrong is in its event, for the task to explain.

    Args:
        connection: Airflow connection id of the account.
        waiter: One of the provider's waiters for EMR.
        arguments: Of its operation.
        poll_s: Seconds between two looks.
        limit_s: For how long to look, all triggerers together.
        until: When that is over, in seconds since 1970: a trigger that another triggerer takes up has no more time.
        carry: Given back to the task.
        result: URI of the job's result; its log lines are beside it.
    """

    def __init__(
        self,
        *,
        connection: str,
        waiter: str,
        arguments: Mapping[str, str],
        poll_s: float,
        limit_s: float,
        until: float,
        carry: Mapping[str, Any],
        result: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.connection = connection
        self.waiter = waiter
        self.arguments = dict(arguments)
        self.poll_s = poll_s
        self.limit_s = limit_s
        self.until = until
        self.carry = dict(carry)
        self.result = result
        self._to_log = TaskLog()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """As Airflow stores it."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "connection": self.connection,
                "waiter": self.waiter,
                "arguments": self.arguments,
                "poll_s": self.poll_s,
                "limit_s": self.limit_s,
                "until": self.until,
                "carry": self.carry,
                "result": self.result,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Gives one event, when it is over."""
        try:
            look, error = await self._watch(), None
        except NightshiftError as caught:
            look, error = None, caught
        yield TriggerEvent(waiting.event(self.carry, look, error))  # type: ignore[no-untyped-call]

    async def _watch(self) -> Look:
        """Raises NightshiftError: It took too long, or AWS does not say."""
        patience = Patience(f"wait for {' '.join(self.arguments.values())}")
        told = await asyncio.to_thread(Told, self.result, seen=self.carry.get("seen", 0)) if self.result else None
        while True:  # once at least: it may be over although nobody looked in time
            look = await self._look_for_a_while(patience, told, min(self.until, time.time() + CLIENT_SECONDS))
            if look != "not yet":
                return look
            if time.time() >= self.until:
                raise waiting.too_long(self.arguments, self.limit_s)

    async def _look_for_a_while(self, patience: Patience, told: Told | None, until: float) -> Look:
        """Look by one client, once at least: one that lives for hours keeps credentials that expire. A look that fails
        ends it too.
        """
        from botocore.exceptions import BotoCoreError, ClientError, WaiterError

        hook = Account(self.connection).hook
        look: Look = "not yet"
        try:
            async with await hook.get_async_conn() as client:  # type: ignore[no-untyped-call]
                waiter = hook.get_waiter(self.waiter, deferrable=True, client=client)
                while True:
                    look = await self._look(waiter, patience)
                    if told is not None:
                        await self._tell(told)
                    if look != "not yet" or time.time() >= until:
                        break
                    await asyncio.sleep(self.poll_s)
        except WaiterError as error:
            look = patience.judge(error)
        except (BotoCoreError, ClientError) as error:
            patience.bear(in_our_words(error, patience.what))
        if look == "not yet":
            await asyncio.sleep(self.poll_s)
        return look

    async def _look(self, waiter: Any, patience: Patience) -> Look:
        """Raises WaiterError: AWS has said something that only another client may change."""
        from botocore.exceptions import WaiterError

        try:
            await waiter.wait(**self.arguments, WaiterConfig=waiting.ONE_LOOK)
        except WaiterError as error:
            if waiting.says(error):
                raise
            return patience.judge(error)
        patience.relax()
        return "reached"

    async def _tell(self, told: Told) -> None:
        try:
            lines = await asyncio.to_thread(lambda: list(told.lines()))
        except StorageError as error:
            self.log.warning("the job's lines cannot be read: %s", error)
            return
        for line in lines:
            self._to_log(line)
        self.carry["seen"] = told.seen
