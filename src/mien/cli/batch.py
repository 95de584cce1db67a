"""`mien batch`: very many images and videos, on all cores or on a Ray cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.addresses import public_name
from mien.batch.shards import SHARD_SIZE, list_shards
from mien.cli.exit_codes import SOME_FAILED, exit_code
from mien.cli.messages import print_message, print_written
from mien.cli.options import ANALYSIS, DEFAULTS, OUTPUT_FOLDER, AnalyzerOptions, Number, Quiet
from mien.cli.progress import progress_bar
from mien.errors import InputError
from mien.number_format import count
from mien.runtime import portable_name, usable_cores
from mien.schema import valid_text

if TYPE_CHECKING:
    from mien.batch.analysis import ShardAnalyzer
    from mien.batch.pool import WorkerPool
    from mien.batch.run import BatchRun
    from mien.batch.shards import Shard
    from mien.inference.analyzer import Analyzer

LOCAL = "local"
RAY = "ray"


@Parameter(name="*", group=ANALYSIS)
@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Number and place of the workers.

    Attributes:
        cluster: local (processes on this machine), ray (the cluster of RAY_ADDRESS, or else Ray on this machine), or
            the address of a Ray cluster.
        workers: processes, each with its own networks; 0: as many as there is room for.
        cpus_per_worker: CPU cores per worker, and number of images that it analyzes at a time.
        gpus_per_worker: GPUs of a worker on a Ray cluster, or a share of one (0.25).
    """

    cluster: Annotated[str, Parameter(metavar="NAME")] = LOCAL
    workers: Annotated[int, Number] = 0
    cpus_per_worker: Annotated[int, Number] = 1
    gpus_per_worker: Annotated[float, Number] = 0.0

    def __post_init__(self) -> None:
        for name, minimum in (("workers", 0), ("cpus_per_worker", 1)):
            if getattr(self, name) < minimum:
                raise InputError(f"{name} is {getattr(self, name)}; expected an integer, {minimum} or more.")
        if not 0 <= self.gpus_per_worker < math.inf:
            raise InputError(f"gpus_per_worker is {self.gpus_per_worker}; expected 0 or more.")
        if self.gpus_per_worker and self.cluster == LOCAL:
            raise InputError("--gpus-per-worker places workers on a Ray cluster; give --cluster ray.")

    def open_pool(self, analyzer: ShardAnalyzer) -> WorkerPool:
        """Return the workers.

        Raises:
            InputError: the cluster cannot be reached or has no room.
            MissingExtraError: Ray is not installed.
        """
        if self.cluster == LOCAL:
            from mien.batch.local import LocalPool

            return LocalPool(analyzer, self.workers or max(1, usable_cores() // self.cpus_per_worker))
        from mien.batch.cluster import RayPool

        return RayPool(
            analyzer,
            address=None if self.cluster == RAY else self.cluster,
            workers=self.workers,
            cpus=self.cpus_per_worker,
            gpus=self.gpus_per_worker,
        )


DEFAULT_WORKERS = WorkerOptions()


def batch(
    *source: str,
    output: Annotated[Path, OUTPUT_FOLDER],
    shard_size: Annotated[int, Number] = SHARD_SIZE,
    quiet: Quiet = False,
    placement: WorkerOptions = DEFAULT_WORKERS,
    options: AnalyzerOptions = DEFAULTS,
) -> int:
    """Analyze very many images and videos into Parquet files, on all cores or on a Ray cluster.

    The prediction describes how a face appears to others, not what the person feels. The same command continues an
    interrupted run; the files are the same for any number of workers. See docs/scale.md.

    Exit code: 0 if all inputs could be read, 1 if some could not or only in part, 2 if none could. Ctrl-C (130) and
    SIGTERM (143) end the run; finished shards are kept.

    Args:
        source: images, tar files of images (WebDataset), videos, and folders of them, which are searched recursively;
            paths, or URLs of object stores (s3://bucket/prefix, gs://, or others of fsspec).
        output: new folder, or that of an interrupted run, for images/, videos/ and errors.parquet.
        shard_size: images in one Parquet file: the work that is repeated when a worker is lost.
    """
    from mien.batch.analysis import ShardAnalyzer
    from mien.batch.run import BatchRun
    from mien.inference.run_settings import run_settings

    if not source:
        raise InputError("no source given; expected files, folders or URLs.")
    if shard_size < 1:
        raise InputError(f"shard_size is {shard_size}; expected an integer, 1 or more.")
    listing = list_shards(source, shard_size=shard_size)
    options = replace(options, threads=options.threads or 1)
    # the machine that only hands out the work may have no GPU
    analyzer = (replace(options, device="cpu") if placement.gpus_per_worker else options).open_analyzer()
    opener = _analyzer_opener(options, placement, analyzer)
    settings = {
        **run_settings(analyzer),
        "source": [valid_text(public_name(item)) for item in source],
        "inputs": listing.digest,
        "shard_size": shard_size,
        # those of the workers
        "device": options.device,
        "precision": opener.keywords["precision"],
    }
    with BatchRun(output, settings, listing.shards) as run:
        if run.counts.shards and not quiet:
            print_message(f"resuming after {run.counts.shards} of {count(len(listing.shards), 'shard')}")
        work = ShardAnalyzer(opener, placement.cpus_per_worker)
        given_up = _run(run, work, placement, len(listing.shards), quiet=quiet)
        run.write_errors()
    if not quiet:
        _print_summary(run)
    print_written(output, quiet=quiet)
    return _conclude(run, given_up)


def _analyzer_opener(options: AnalyzerOptions, placement: WorkerOptions, analyzer: Analyzer) -> partial[Analyzer]:
    """Return a function that opens the analyzer in a worker: on a CPU with the precision of this machine."""
    from mien.inference.analyzer import Analyzer

    precision = options.precision if placement.gpus_per_worker else analyzer.classifier.network.precision
    return partial(
        Analyzer,
        portable_name(options.model),
        threads=options.threads,
        device=options.device,
        precision=precision,
        **vars(analyzer.options),
    )


def _run(run: BatchRun, work: ShardAnalyzer, placement: WorkerOptions, total: int, *, quiet: bool) -> list[Shard]:
    """Analyze the remaining shards; return those that are given up."""
    from mien.batch.pool import map_shards

    given_up: list[Shard] = []
    if not run.remaining:
        return given_up
    items_before, started_s = run.counts.items, perf_counter()
    try:
        with progress_bar("shards", is_shown=not quiet) as progress, placement.open_pool(work) as pool:
            progress(run.counts.shards, total)
            for shard, output in map_shards(pool, run.remaining):
                if output is None:
                    given_up.append(shard)
                    continue
                run.add(shard, output)
                for failure in output.failures:
                    progress.print(f"mien: {failure['message']}")
                rate = (run.counts.items - items_before) / (perf_counter() - started_s)
                progress(run.counts.shards, total, f"{count(run.counts.items, 'input')}, {rate:.1f}/s")
    except KeyboardInterrupt:
        done = f"stopped after {run.counts.shards} of {count(total, 'shard')}"
        print_message(f"{done}; the same command continues the run")
        raise
    return given_up


def _print_summary(run: BatchRun) -> None:
    counts = run.counts
    problems = [f"{counts.failures} could not be read"] if counts.failures else []
    problems += [f"{counts.incomplete} could be read only in part"] if counts.incomplete else []
    hint = ": see errors.parquet" if problems else ""
    texts = [count(counts.items, "input"), count(counts.faces, "face"), *problems]
    print_message(", ".join(texts) + hint)


def _conclude(run: BatchRun, given_up: Sequence[Shard]) -> int:
    """Print the shards that are missing, and return the exit code."""
    for shard in given_up:
        first, last = shard.address(shard.paths[0]), shard.address(shard.paths[-1])
        print_message(f"{shard.name} is missing: its workers were lost; an input from {first} to {last} may kill them")
    if given_up:
        print_message("the same command tries the missing shards again")
    counts = run.counts
    missing = sum(len(shard.paths) for shard in given_up)
    code = exit_code(counts.failures + missing, counts.items + missing)
    return max(code, SOME_FAILED) if counts.incomplete else code
