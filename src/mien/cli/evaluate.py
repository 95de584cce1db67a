"""`mien evaluate`: accuracy and calibration of a model on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mien.cli.messages import NOTHING_WRITTEN, print_overwriting, print_written, report_unreadable
from mien.cli.options import (
    OUTPUT_FOLDER,
    Arithmetic,
    Device,
    EvaluationOptions,
    FlipTta,
    Json,
    Model,
    Prior,
    Quiet,
    Threads,
    Workers,
    check_effective,
    network_threads,
)
from mien.cli.progress import progress_bar
from mien.cli.signals import finish_before_stop
from mien.errors import InputError
from mien.runtime import DEFAULT_MODEL, count_workers


def evaluate(
    *,
    data: EvaluationOptions,
    output: Annotated[Path | None, OUTPUT_FOLDER] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    groups: Annotated[bool, Parameter(negative="--no-groups")] = True,
    model: Model = DEFAULT_MODEL,
    flip_tta: FlipTta = False,
    prior: Prior = None,
    threads: Threads = 0,
    workers: Workers = 0,
    device: Device = "auto",
    precision: Arithmetic = "auto",
) -> int:
    """Measure the accuracy and calibration of a model on labeled faces, or of a voice model on a speech corpus.

    The labels are expressions that people *perceived* in an image; nobody can see from an image what a person feels.
    If the data set has groups (gender, age, ..., as perceived by its annotators), each group is evaluated too, to find
    for whom the model is less accurate; groups do not describe any person.

    With --dataset emodb, crema-d, ravdess, meld or iemocap a voice model is evaluated, by default the shipped one, with
    the interval of its mean recall over speakers, and arousal. With --speaker-independent the linear heads are refitted
    for every speaker (of more than ten: for every group of speakers) to the others; the encoder stays as it is.

    Exit code: 1 if images or sounds are missing or broken; they count as errors. On a narrow terminal the columns
    before, Brier, ECE, macro F1 and balanced are left out, in this order.

    Args:
        output: folder for report.html, report.json and plots.
        as_json: print one JSON object.
        groups: evaluate each group (default).
    """
    from mien.cli.outputs import check_report, print_json
    from mien.cli.voice_evaluation import evaluate_voice
    from mien.evaluation.evaluate import evaluate as evaluate_model
    from mien.inference.classifier import ExpressionClassifier
    from mien.reports.evaluation import write_report

    if data.corpus is not None:
        options = {
            "--output": output is not None,
            "--flip-tta": flip_tta,
            "--prior": prior is not None,
            "--without-duplicates": data.without_duplicates,
            "--no-groups": not groups,
            "--workers": workers != 0,
            "--device": device != "auto",
            "--precision": precision != "auto",
        }
        check_effective(options, "on speech corpora")
        return evaluate_voice(data, data.corpus, model=model, threads=threads, as_json=as_json, quiet=quiet)
    if data.speaker_independent:
        raise InputError("--speaker-independent is for speech corpora.")
    check_report(output)
    workers = count_workers(workers)
    threads = network_threads(threads, workers)
    with finish_before_stop():
        classifier = ExpressionClassifier(model, threads=threads, device=device, precision=precision)
    index = data.read_split(quiet=quiet)
    with progress_bar("evaluating", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        evaluation = evaluate_model(
            classifier, index, flip_tta=flip_tta, by_group=groups, prior=prior, workers=workers, progress=progress
        )
    name = classifier.manifest.name
    subject = {"model": f"{name} {classifier.manifest.version}", **data.describe(index, flip_tta=flip_tta)}
    if prior is not None:
        subject["prior"] = prior
    if as_json:
        print_json({**subject, **evaluation.summary})
    else:
        from mien.cli.console import print_evaluation

        print_evaluation(subject, evaluation.summary)
    if output is not None:
        print_overwriting(output, quiet=quiet)
        path = write_report(
            output,
            title=f"{name} on {index.name}, {subject['split']}",
            subject=subject,
            summary=evaluation.summary,
            mistakes=evaluation.mistakes,
        )
        print_written(path, quiet=quiet)
    return report_unreadable(evaluation.summary["unreadable"])
