"""Results that come a few at a time, kept in chunks beside the work that makes them."""

from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl

from resources.objects.results import Results


class ResultChunks:
    """Collects rows by kind and keeps them whenever `chunk_rows` are together, one chunk beside the work that goes on.

    As a context manager: the rest is kept on exit; an error in keeping is raised by the next call.
    """

    def __init__(self, results: Results, chunk_rows: int) -> None:
        self.results = results
        self.chunk_rows = chunk_rows
        self.waiting: dict[str, list[pl.DataFrame]] = {}
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="results-keep")
        self.writing: Future[None] | None = None

    def __enter__(self) -> "ResultChunks":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            # What was finished is kept also when the work ends with an error.
            for kind in list(self.waiting):
                self._keep(kind)
            if self.writing:
                self.writing.result()
        finally:
            self.writer.shutdown()

    def add(self, kind: str, rows: pl.DataFrame) -> None:
        """Take rows of a kind, named by their `result_key` column."""
        waiting = self.waiting.setdefault(kind, [])
        waiting.append(rows)
        if sum(frame.height for frame in waiting) >= self.chunk_rows:
            self._keep(kind)

    def _keep(self, kind: str) -> None:
        rows = pl.concat(self.waiting.pop(kind))
        if self.writing:
            self.writing.result()
        self.writing = self.writer.submit(self.results.put, kind, rows)
