"""Judges the rows of a run day by day, by the schema and the asset's checks, before anything is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import dagster as dg
import polars as pl

from pipeline_assets.framework.declaration import DayCheck, Declaration, RunOfDays, Table, Verdict
from pipeline_assets.framework.digest import rows_digest
from pipeline_assets.framework.schemas import Rejected
from pipeline_assets.framework.validation import validate
from pipeline_assets.runtime.visible import markdown
from resources.dagster_private import AssetCheckEvaluationTargetMaterializationData
from resources.lake.spool import Parts, Spool

PREVIEW_ROWS = 5
"""Rows of a day that the UI shows."""


@dataclass(frozen=True)
class Judged:
    """A run's rows after schema and checks. bad: the reason by day that is not written.

    rows: with condensed bulk columns, for checks, digests and previews; stored: complete, for writing.
    """

    rows: pl.DataFrame
    stored: Parts
    rejected: pl.DataFrame
    good: tuple[date, ...]
    bad: Mapping[date, str]
    digests: Mapping[date, str]
    verdicts: Mapping[date, Mapping[str, tuple[DayCheck | None, Verdict]]]
    table: Table
    counts: Mapping[date, int]
    """Number of rows by day; `rows` has only the first rows of a day if days were judged one at a time."""

    @classmethod
    def nothing(cls, asset: Declaration) -> "Judged":
        """The result of a run that had no day to compute."""
        empty = asset.schema.create_empty()
        return cls(empty, Parts.of(empty), Rejected.create_empty(), (), {}, {}, {}, Table(empty), {})

    def check_results(self, names: Sequence[str]) -> list[dg.AssetCheckResult]:
        """One result for each check over all days of the run; a warning names the days."""
        results = []
        for name in names:
            by_day = {day: verdicts[name] for day, verdicts in self.verdicts.items()}
            failed = {day: verdict for day, (_, verdict) in by_day.items() if not verdict.passed}
            text = "; ".join(f"{day}: {v.description}" for day, v in sorted(failed.items())[:5])
            if not failed:
                text = "holds on every day" if by_day else "nothing has changed"
            facts = next(iter(by_day.values()))[1].facts if len(by_day) == 1 else {"days": len(by_day)}
            results.append(
                dg.AssetCheckResult(
                    passed=not failed,
                    check_name=name,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=markdown(text),
                    metadata=dict(facts),
                )
            )
        return results

    def evaluations(self, instance: dg.DagsterInstance, asset: str) -> Iterator[dg.AssetCheckEvaluation]:
        """One evaluation for each day and check; it targets the day's newest materialization."""
        keys = [day.isoformat() for day in self.verdicts]
        records_filter = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=keys)
        newest: dict[str | None, AssetCheckEvaluationTargetMaterializationData] = {}
        for record in instance.fetch_materializations(records_filter, limit=2 * len(keys)).records if keys else ():
            target = AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            )
            newest.setdefault(record.partition_key, target)
        for day, verdicts in self.verdicts.items():
            for name, (check, verdict) in verdicts.items():
                yield dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey(asset),
                    check_name=name,
                    passed=verdict.passed,
                    metadata=dict(verdict.facts),
                    description=markdown(verdict.description),
                    blocking=check is None or check.blocking,
                    partition=day.isoformat(),
                    target_materialization_data=newest.get(day.isoformat()),
                )


def judge(asset: Declaration, run: RunOfDays, table: Table) -> Judged:
    """Judge the days of a run by the schema, then by each check."""
    validated = validate(asset, table.rows)
    broken = validated.broken.with_columns(pl.col("day").cast(pl.Date, strict=False).fill_null(run.days[-1]))
    rules = ", ".join(validated.rules)
    rejected: pl.DataFrame = (
        Rejected.validate(table.rejected, cast=True) if table.rejected is not None else Rejected.create_empty()
    )
    if asset.quarantines and not broken.is_empty():
        rejected = pl.concat([rejected, as_rejected(broken, asset.key, validated.why)])
        broken = broken.clear()
    good, bad, digests, verdicts = [], {}, {}, {}
    for day in run.days:
        rows = validated.rows.filter(pl.col("day") == day)
        day_rejected = rejected.filter(pl.col("day") == day)
        wrong = broken.filter(pl.col("day") == day).height
        results: dict[str, tuple[DayCheck | None, Verdict]] = {
            "schema": (None, Verdict(not wrong, f"{wrong} rows break the schema ({rules})" if wrong else "holds"))
        }
        for check in asset.checks:
            results[check.name] = (check, check.judge(day, rows, day_rejected, run))
        verdicts[day] = results
        reasons = [f"{n}: {v.description}" for n, (c, v) in results.items() if not v.passed and (c is None or c.blocking)]
        if reasons:
            bad[day] = ", ".join(reasons)
        else:
            good.append(day)
            digests[day] = rows_digest(rows, asset.key, asset.volatile)
    counts = dict.fromkeys(run.days, 0) | dict(validated.rows.group_by("day").len().iter_rows())
    return Judged(validated.rows, validated.stored, rejected, tuple(good), bad, digests, verdicts, table, counts)


def judge_all(asset: Declaration, run: RunOfDays, tables: Table | Iterator[Table]) -> Judged:
    """Judge the one table of a run, or one table for each of its days in turn, so that memory holds one day.

    In the second case rows are spooled to disk, and only those of a preview stay in memory. Raises ValueError if a day has
    no table, or its table has rows of another day.
    """
    if isinstance(tables, Table):
        return judge(asset, run, tables)
    spool, days = Spool(asset.schema.create_empty().schema), []
    for day in run.days:
        table = next(tables, None)
        if table is None:
            raise ValueError(f"{asset.name} yielded no table for {day}: yield one for each day of the run, in their order")
        judged = judge(asset, replace(run, days=(day,)), table)
        del table
        if strays := sorted(judged.counts.keys() - {day}):
            raise ValueError(f"{asset.name}: the table of {day} has rows of another day, {strays[0]}")
        for part in judged.stored:
            spool.add(part)
            del part
        shown = judged.rows if asset.day_metadata else judged.rows.head(PREVIEW_ROWS).clone()
        days.append(replace(judged, rows=shown, stored=Parts.of(shown), table=Table(shown)))
        del judged  # before the next day is made
    return Judged(
        rows=pl.concat(day_judged.rows for day_judged in days),
        stored=spool.parts(),
        rejected=pl.concat(day_judged.rejected for day_judged in days),
        good=tuple(day for day_judged in days for day in day_judged.good),
        bad={day: why for day_judged in days for day, why in day_judged.bad.items()},
        digests={day: digest for day_judged in days for day, digest in day_judged.digests.items()},
        verdicts={day: verdicts for day_judged in days for day, verdicts in day_judged.verdicts.items()},
        table=Table(days[-1].rows),
        counts={day: count for day_judged in days for day, count in day_judged.counts.items()},
    )


def as_rejected(broken: pl.DataFrame, key: Sequence[str], why: pl.Series) -> pl.DataFrame:
    """Rows that failed their schema as quarantine rows. why: the rules that each row breaks."""
    source = pl.concat_str([pl.col(name).cast(pl.String).fill_null("null") for name in key], separator=" ")
    frame = broken.select(
        "day",
        source=source,
        reason=pl.lit("schema"),
        detail=pl.lit("breaks the table's schema: ") + why,
        raw=pl.struct(pl.all()).struct.json_encode().str.slice(0, 2000),
    )
    return Rejected.validate(frame, cast=True)
