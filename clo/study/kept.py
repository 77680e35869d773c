"""Scores of the model that a run keeps, and of the last one beside it where they are not the same."""

from __future__ import annotations

from typing import Any

from clo.config.choices import Keep
from clo.study.outcome import place_of_last
from clo.study.rebuild import stage_weights
from clo.study.scores import Scores, Tested, answer_scores, end_scores, mean_square, trained_stamp
from clo.study.session import Session


def kept_scores(session: Session, model: Any, tested: Tested, trained: dict[str, Any]) -> tuple[Scores, Scores | None]:
    """Scores of what is kept, and of the last weights, none with ``trainer.keep=last``; the model ends as it is kept.

    The last weights answer and are scored on the held-out square; benchmarks are asked of what is kept alone.

    Args:
        session: the run.
        model: on its device, as the last stage left it.
        tested: what it is scored on.
        trained: facts about the training, as of results.json.
    """
    from clo.training.checkpoint import load_trained
    from clo.training.keep import last_weights

    if session.run.trainer.keep is Keep.last:
        return end_scores(session, model, tested), None
    done, kept = stage_weights(session.folder.path)[-1], trained["kept"]
    last = None
    if kept["step"] != kept["of"]:
        load_trained(model, last_weights(done))
        place = place_of_last(session.folder.path)
        with session.precision():
            stamp = f"{trained_stamp(session)} last"
            answers, samples = answer_scores(session, model, tested.rows, "evaluate last", stamp, place)
            last = Scores(answers, samples, mean_square(session, model, tested.held_out), {})
    load_trained(model, done)
    end = end_scores(session, model, tested)
    return end, last or Scores(end.answers, end.samples, end.square, {})
