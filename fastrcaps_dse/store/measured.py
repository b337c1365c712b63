"""What was measured on devices, for all studies: step times, and which convolution algorithm is the fastest."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict

import sqlalchemy as sa

from fastrcaps_dse.store import tables
from fastrcaps_dse.store.connection import Database
from fastrcaps_dse.store.rows import AlgorithmChoice, StepTime


class MeasuredTables(Database):
    """The tables of step times and algorithm choices."""

    # --- step times ---------------------------------------------------------------------------------------------------

    def step_time(self, key: str, device: str, software: str) -> StepTime | None:
        """What was measured for this key on this device with this software."""
        c = tables.step_time.c
        rows = self.rows(sa.select(tables.step_time).where((c.key == key) & (c.device == device) & (c.software == software)))
        return StepTime(**rows[0]) if rows else None

    def step_times(self) -> list[StepTime]:
        """Everything that was measured, the latest first."""
        return [StepTime(**row) for row in self.rows(sa.select(tables.step_time).order_by(tables.step_time.c.measured.desc()))]

    def set_step_time(self, measured: StepTime) -> None:
        """Keep a step time; another process may have measured it meanwhile: the earlier one stays."""
        if self.step_time(measured.key, measured.device, measured.software) is not None:
            return
        self._insert(tables.step_time, asdict(measured))

    # --- convolution algorithms ---------------------------------------------------------------------------------------

    def algorithm_choice(
        self, images: str, batch_size: int, precision: str, device: str, software: str
    ) -> AlgorithmChoice | None:
        """What was chosen for batches of these images on this device with this software."""
        c = tables.algorithm_choice.c
        where = (c.images == images) & (c.batch_size == batch_size) & (c.precision == precision)
        query = sa.select(tables.algorithm_choice).where(where & (c.device == device) & (c.software == software))
        rows = self.rows(query)
        return AlgorithmChoice(**rows[0]) if rows else None

    def algorithm_choices(self) -> list[AlgorithmChoice]:
        """All choices, the latest first."""
        query = sa.select(tables.algorithm_choice).order_by(tables.algorithm_choice.c.measured.desc())
        return [AlgorithmChoice(**row) for row in self.rows(query)]

    def keep_algorithm_choice(self, measured: AlgorithmChoice) -> AlgorithmChoice:
        """Keep a choice; what is kept then, as another process may have been earlier."""
        entry = (measured.images, measured.batch_size, measured.precision, measured.device, measured.software)
        self._insert(tables.algorithm_choice, asdict(measured))
        kept = self.algorithm_choice(*entry)
        assert kept is not None
        return kept

    def _insert(self, table: sa.Table, values: dict[str, object]) -> None:
        """Insert a row, unless another process has inserted one with its key."""

        def act(connection: sa.Connection) -> None:
            with suppress(sa.exc.IntegrityError), connection.begin_nested():
                connection.execute(table.insert().values(**values))

        self.write(act)
