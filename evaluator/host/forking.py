"""Processes that keep nothing: each answers for a while, is killed with all that it started, and the next one is forked.

The first process imports PyTorch, runs no submitted code and computes nothing, since OpenMP does not survive a fork. For every
life it forks two others: one that loads the submission and answers, and a relay between that and the scorer. When the scorer
asks for another life, the first process kills everything else in the sandbox, makes sure that the sandbox is as it was
(`evaluator.host.footprint`), and forks again. Where it is not, it says "spent", and the scorer opens another sandbox.

The next model can read whatever the first process has in memory. So the first process never reads a byte that a model wrote,
and counts nothing: that is why the relay is a process of its own, and dies with its model.

See docs/decisions/0014-lives-forked-before-loading.md.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from evaluator.host.footprint import Footprint, alone
from evaluator.host.relaying import NO_SEED, Relay
from evaluator.host.seclusion import adopt_orphans, hide, seclude, show
from evaluator.host.wire import LENGTH, Message, encode

Serve = Callable[[int, int, int | None], int]  # (descriptor of questions, of answers, seed) -> exit status
_NEEDED = ("evaluator.defenses.architectures", "evaluator.adaptive.learned")  # what a life would import
_WISH = 8  # bytes: the seed of the next life


class Lives:
    """The first process. reader, writer: the scorer's stream. serve: loads the submission and answers on two descriptors."""

    def __init__(self, reader: int, writer: int, serve: Serve) -> None:
        self._reader, self._writer, self._serve = reader, writer, serve

    @staticmethod
    def possible() -> bool:
        """Whether this process has a sandbox to itself, so that it may kill all others, and shares no memory with any."""
        return sys.platform == "linux" and alone()

    def run(self) -> int:
        """Forks one life after the other until the stream closes or a model ends. The exit status is the model's."""
        hide()
        adopt_orphans()
        for module in _NEEDED:
            importlib.import_module(module)
        footprint = Footprint()
        gc.freeze()
        seed = self._lived(None)
        while seed is not None:
            if not footprint.untouched():
                self._say_spent()
                return 0
            seed = self._lived(seed)
        return 0

    def _lived(self, seed: int | None) -> int | None:
        """One life, with its seed; the seed of the next one, None at the end. Without a seed: the relay alone waits for one."""
        wish, wished = os.pipe()
        over, alive = os.pipe()
        question = asks = says = answer = log = logs = -1
        model = 0
        if seed is not None:
            question, asks = os.pipe()
            answer, says = os.pipe()
            log, logs = os.pipe()
            model = os.fork() or self._model(question, says, logs, seed)
            for end in (question, says, logs):
                os.close(end)
        relay = os.fork()
        if relay == 0:
            os.close(alive)
            _ended_by(Relay(self._reader, self._writer, asks, answer, log, over).run, wished)
        for end in (asks, answer, log, over, wished):
            if end >= 0:
                os.close(end)
        status = _ends(model, relay, alive)
        said = os.read(wish, _WISH)
        os.close(wish)
        _kill_all()
        if len(said) == _WISH:  # a model whose relay has gone ends by itself, perhaps first
            return int.from_bytes(said, "little")
        if status is not None:
            _end_like(status)
        return None

    def _model(self, question: int, says: int, logs: int, seed: int) -> NoReturn:
        """In the new process: nothing is left open but what is its own."""
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(logs, 1)
            os.dup2(logs, 2)
            kept = {question, says}
            for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 (its descriptor is among them)
                if number > 2 and number not in kept:
                    _close(number)
            show()
            seclude()
            code = self._serve(question, says, None if seed == NO_SEED else seed)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _say_spent(self) -> None:
        payload = encode(Message("spent"))
        os.write(self._writer, LENGTH.pack(len(payload)) + payload)


def _ended_by(relay: Callable[[], int | None], wished: int) -> NoReturn:
    """In the relay's process: runs it and hands on what the scorer wished."""
    code = 1
    try:
        seed = relay()
        if seed is not None:
            os.write(wished, seed.to_bytes(_WISH, "little"))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _ends(model: int, relay: int, alive: int) -> int | None:
    """Waits until the relay has ended; the model's wait status where that ended first. Orphans are buried on the way."""
    status = None
    while True:
        pid, ended = os.waitpid(-1, 0)
        if pid == model:
            status = ended
            os.close(alive)  # tells the relay, which hands on what was said and ends
        elif pid == relay:
            if status is None:
                os.close(alive)
            return status


def _kill_all() -> None:
    """Ends every other process of the sandbox, at one moment, so that none can run away by forking; waits for all."""
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def _end_like(status: int) -> NoReturn:
    """Ends as the model's process did: the sandbox tells the scorer why."""
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _close(number: int) -> None:
    try:
        os.close(number)
    except OSError:
        return
