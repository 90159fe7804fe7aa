"""The duplex stream, the log, and how both fail."""

from __future__ import annotations

import hashlib
import os
import threading
import time

from sandbox import Exit, Job, Limits, Sandbox, StreamClosed, StreamTimeout
from tests.sandbox.conformance.support import finish, python, refused, resident_bytes, shell

_CAT = Job(("/bin/cat",))


def what_is_sent_comes_back_byte_for_byte(sandbox: Sandbox) -> None:
    with sandbox.start(_CAT) as running:
        for message in (b"x", b"", bytes(range(256)) * 1000, memoryview(b"view"), bytearray(b"array")):
            running.stream.send(message, timeout=10)
            assert running.stream.receive(len(message), timeout=10) == bytes(message)


def sixty_four_megabytes_go_both_ways_at_once(sandbox: Sandbox) -> None:
    data = os.urandom(1 << 20) * 64
    with sandbox.start(_CAT) as running:
        sender = threading.Thread(target=running.stream.send, args=(data,), kwargs={"timeout": 60})
        sender.start()
        received = running.stream.receive(len(data), timeout=60)
        sender.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


def a_silent_job_is_a_stream_timeout_and_stays_usable(sandbox: Sandbox) -> None:
    with sandbox.start(_CAT) as running:
        before = time.monotonic()
        with refused(StreamTimeout):
            running.stream.receive(1, timeout=0.3)
        assert 0.25 < time.monotonic() - before < 2
        running.stream.send(b"still there", timeout=5)
        assert running.stream.receive(11, timeout=5) == b"still there"


def a_job_that_does_not_read_is_a_stream_timeout(sandbox: Sandbox) -> None:
    with sandbox.start(shell("sleep 60")) as running, refused(StreamTimeout):
        running.stream.send(bytes(16 << 20), timeout=0.5)


def a_job_that_drips_is_a_stream_timeout(sandbox: Sandbox) -> None:
    with sandbox.start(shell("while printf x; do sleep 0.05; done")) as running:
        before = time.monotonic()
        with refused(StreamTimeout):
            running.stream.receive(10_000, timeout=1)
        assert time.monotonic() - before < 3


def a_job_that_dies_in_the_middle_of_a_frame_is_a_closed_stream(sandbox: Sandbox) -> None:
    with sandbox.start(shell("printf 12345; exit 3")) as running:
        with refused(StreamClosed, saying="5 of 10"):
            running.stream.receive(10, timeout=20)
        assert finish(running) == Exit("exited", 3)
        with refused(StreamClosed):
            running.stream.send(b"hello", timeout=5)


def what_a_job_wrote_before_it_ended_can_still_be_read(sandbox: Sandbox) -> None:
    with sandbox.start(shell("printf answer")) as running:
        assert finish(running) == Exit("exited", 0)
        assert running.stream.receive(6, timeout=5) == b"answer"


def closing_the_stream_wakes_who_waits_for_it(sandbox: Sandbox) -> None:
    outcome: list[Exception] = []
    with sandbox.start(_CAT) as running:

        def receive() -> None:
            try:
                running.stream.receive(1, timeout=60)
            except (StreamClosed, StreamTimeout) as error:
                outcome.append(error)

        waiter = threading.Thread(target=receive)
        waiter.start()
        time.sleep(0.1)
        running.stream.close()
        running.stream.close()
        waiter.join(5)
    assert [type(error) for error in outcome] == [StreamClosed]


def one_gigabyte_of_stderr_costs_no_memory_and_stops_nobody(sandbox: Sandbox) -> None:
    script = "printf begin >&2; head -c 1000000000 /dev/zero >&2; printf done"
    before = resident_bytes()
    with sandbox.start(shell(script, limits=Limits(log_kb=16))) as running:
        assert running.stream.receive(4, timeout=60) == b"done"
        assert finish(running) == Exit("exited", 0)
        head, dropped = running.log()
        assert resident_bytes() - before < 32 << 20
    assert len(head) == 16 << 10
    assert head.startswith(b"begin")
    assert len(head) + dropped == 1_000_000_005


def the_log_can_be_read_while_the_job_runs_and_after_its_end(sandbox: Sandbox) -> None:
    with sandbox.start(python("import sys; sys.stderr.write('note\\n'); sys.stderr.flush(); sys.stdin.read()")) as running:
        deadline = time.monotonic() + 20
        while running.log() != (b"note\n", 0):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.kill()
        assert running.log() == (b"note\n", 0)
