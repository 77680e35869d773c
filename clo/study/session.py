"""What all parts of a run share beside the model, made once."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from clo.config import ModelConfig
from clo.config.parse import RunConfig
from clo.data.prompt import Renderer
from clo.evaluation.subject import Subject
from clo.storage.ranks import Ranks
from clo.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Session:
    """One run at work."""

    run: RunConfig
    folder: RunFolder
    renderer: Renderer
    device: Any
    """torch.device of this process."""
    ranks: Ranks = Ranks()  # noqa: RUF009  # a frozen value
    """The processes of the run, each with whole weights outside of the stages: they share every measurement."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the source and the target language, or the targets."""
        return self.run.lang.codes()

    def subject(self, model: Any) -> Subject:
        """The model under test."""
        return Subject(model, self.renderer, self.run.trainer.budget(), ranks=self.ranks)

    def key(self, model: Any) -> str:
        """Content hash of what a model's scores and answers depend on (`Subject.key`), made by the main process."""
        return self.ranks.mains(lambda: self.subject(model).key(self.run.trainer.precision))

    def within(self, max_tokens: int | None) -> Session:
        """Itself where training had memory for this token budget (none: not tried): evaluation takes as much less."""
        asked = self.run.trainer.budget()
        if max_tokens is None or max_tokens >= asked:
            return self
        trainer, evaluation = replace(self.run.trainer, max_tokens=max_tokens), self.run.evaluation
        fewer = max(1, evaluation.max_tokens * max_tokens // asked)
        return replace(self, run=replace(self.run, trainer=trainer, evaluation=replace(evaluation, max_tokens=fewer)))

    def precision(self) -> AbstractContextManager[Any]:
        """The context that scores are computed in, as in training."""
        from clo.model.load import mixed

        found: AbstractContextManager[Any] = mixed(self.run.trainer.precision, self.device)
        return found


def open_session(run: RunConfig, folder: RunFolder) -> Session:
    """Load the tokenizer and prepare this process for the run.

    Raises:
        UserError: no such device, or the tokenizer or its template is not as the configuration says.
    """
    from clo.model.load import prepare_processor, run_device
    from clo.training.loggers import quiet_libraries

    quiet_libraries()
    device = run_device(run.trainer.accelerator)
    prepare_processor(run.trainer.threads, run.trainer.precision, device)
    return Session(run, folder, renderer_of(run.model), device)


def renderer_of(model: ModelConfig) -> Renderer:
    """The tokenizer of a model with everything that decides what it makes of a text.

    Raises:
        UserError: the tokenizer or its template is not as the configuration says.
    """
    from clo.model.load import load_tokenizer

    return Renderer(load_tokenizer(model), model.template, model.end_of_turn, model.template_kwargs, model.date)
