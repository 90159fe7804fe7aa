"""A defense made ready to be asked: staged, its manifest read, its lane chosen, the challenge's images beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from arena.running.lanes import Lane, choose, settled_threads
from arena.running.listening import Listener
from arena.running.staging import Staged, staged
from evaluator.attacks.base import Model
from evaluator.data import Examples
from evaluator.data import examples as ranked_examples
from evaluator.ensembles import Ensemble
from evaluator.errors import InputError, SubmissionError
from evaluator.host.load import load_weights_only, read_manifest
from evaluator.judging.certification import require
from evaluator.judging.defense import Defense
from evaluator.judging.evaluation import Verdict, evaluate
from evaluator.judging.goals import Goal, build_goal
from evaluator.judging.watch import Observer
from evaluator.manifests.architecture_shapes import check_images
from evaluator.manifests.certificate_specs import CertificateSpec, CertifiedSpec
from evaluator.manifests.spec import DefenseManifest, Pack
from evaluator.models.meter import Meter, MeteredModel
from evaluator.models.reading import reading_of
from evaluator.records.report import SubmissionReason
from evaluator.threats import Corruptions, Threat, build
from sandbox import Sandbox

_CERTIFYING = 1 << 20  # among the numbers of a part's openings


@dataclass(frozen=True)
class Bench:
    """copy: the staged folder; examples: those that rank, in data order; threat: the challenge's."""

    pack: Pack
    copy: Staged
    lane: Lane
    examples: Examples
    threat: Threat

    @property
    def manifest(self) -> DefenseManifest:
        return self.lane.manifest

    @property
    def defense(self) -> Defense:
        """What is judged: opened afresh in its lane, its answers read as declared."""
        return Defense(lambda: self.lane.open(self.examples.classes), reading_of(self.manifest))

    def search(
        self,
        part: Examples,
        ensemble: Ensemble,
        *,
        seed: int,
        keep: bool = False,
        corruptions: Corruptions | None = None,
        listener: Listener | None = None,
    ) -> Verdict:
        """Searches a part of the examples with `ensemble` and verifies what it found; answers are read as declared.

        keep: whether the verdict holds what broke the defense in its stored form; corruptions: those whose errors to count.
        Raises what `evaluate` raises.
        """
        heard = listener or self.lane.listener
        observer = Observer(heard.on_progress, heard.cancelled)
        openings = itertools.count()
        opened = Defense(lambda: self.lane.open(part.classes, *_about(part), next(openings)), self.defense.reading)
        return evaluate(
            opened,
            part,
            self.threat,
            ensemble,
            seed=seed,
            goal=self.goal,
            keep=keep,
            corruptions=corruptions,
            observer=observer,
        )

    @property
    def goal(self) -> Goal:
        """What an adversary wants here."""
        return build_goal(self.pack.challenge.goal, self.pack.challenge.data)

    def require(self, asked: CertificateSpec, board: CertifiedSpec | None = None) -> None:
        """Raises InputError, before anything is computed, where the certificate cannot be had."""
        weights_only = self.manifest.format == "safetensors"
        network = load_weights_only(self.copy.folder, self.manifest) if weights_only else None
        require(asked, self.threat, network, tuple(self.examples.x.shape[1:]), board)

    @contextmanager
    def certifiable(self, asked: CertificateSpec, part: Examples) -> Iterator[Model]:
        """What certificates of `part` are computed of: the model in its lane for smoothing, else the network whose layers are
        read."""
        if asked.method != "smoothing":
            yield load_weights_only(self.copy.folder, self.manifest)
            return
        with self.lane.open(part.classes, *_about(part), _CERTIFYING) as model:
            yield MeteredModel(model, Meter(), classes=part.classes, tick=self.lane.listener.tick).eval()


def _about(part: Examples) -> tuple[int, ...]:
    """What tells a part from others, whichever shard it is searched in."""
    return tuple(part.ids[:1].tolist())


@contextmanager
def bench(
    pack: Pack,
    defense: Path,
    *,
    sandbox: Sandbox,
    listener: Listener,
    examples: int | None = None,
    lane: str = "auto",
    seed: int,
    device: str = "cpu",
    seconds: int | None = None,
) -> Iterator[Bench]:
    """Makes `defense`, an unpacked folder with its defense.toml, ready for as long as it is asked.

    examples: only the first so many; lane, device: see `choose` and `Lane`; seconds: for how long each host may live, None for
    the challenge's limit; seed: the scorer's. Raises SubmissionError, before anything is computed, for a folder that does not
    fit the challenge.
    """
    challenge, limits = pack.challenge, pack.challenge.limits
    data = challenge.data if examples is None else challenge.data.first(examples)
    if seconds is not None:
        limits = limits.model_copy(update={"seconds": seconds})
    with staged(defense) as copy:
        ranked, manifest = ranked_examples(data), read_manifest(copy.folder)
        with blaming_the_manifest():
            if manifest.format == "safetensors":
                check_images(str(manifest.architecture), tuple(ranked.x.shape[1:]), ranked.classes)
        name, threads = choose(lane, manifest), settled_threads(limits)
        opened = Lane(name, copy.folder, manifest, limits, sandbox, threads, listener, device=device, seed=seed)
        yield Bench(pack, copy, opened, ranked, build(challenge.threat))


@contextmanager
def blaming_the_manifest() -> Iterator[None]:
    """A network or certificate that cannot be judged is the team's failure, not the platform's."""
    try:
        yield
    except InputError as error:
        where = f"defense.toml, {error.where or 'certificate'}"
        raise SubmissionError(SubmissionReason.MANIFEST, error.what, where=where, help=error.help) from error
