"""What some tests need of the machine beyond the project itself, and the command that provides it.

Every skip names one of these, so that the summary of a run (conftest.py) is one line a cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import pytest


@dataclass(frozen=True)
class Need:
    """One cause for which tests are not run. command: what a person types to have them run."""

    what: str
    command: str

    @property
    def reason(self) -> str:
        """The reason of a skip; the same for every test that needs this."""
        return f"need {self.what}: {self.command}"

    def skip(self) -> NoReturn:
        """Skips the test that runs."""
        pytest.skip(self.reason)

    def unless(self, there: object) -> pytest.MarkDecorator:
        """A mark that skips where it is not `there`."""
        return pytest.mark.skipif(not there, reason=self.reason)


DOCKER = Need("a Docker engine", 'eval "$(deploy/dev/docker-engine start DIR)"; export DOCKER_HOST')
SERVICES = Need(
    "PostgreSQL and Redis",
    'eval "$(deploy/dev/services start DIR)"; export REDOUBT_TEST_POSTGRES REDOUBT_TEST_REDIS',
)
CHROMIUM = Need("Chromium", "apt-get install chromium, or set REDOUBT_CHROMIUM to its path")
CALIBRATION = Need("calibration weights", "set REDOUBT_SHARED_DATA to the folder that holds models/*.safetensors")
PEERS = Need("other libraries' attacks", "make setup")
SUPERUSER = Need("root", "sudo make test")
USER_NAMESPACES = Need("bubblewrap", "redoubt doctor says what this machine lacks")
CGROUPS = Need("control groups that this user can make", "sudo make test, on a machine where /sys/fs/cgroup can be written")
LANDLOCK = Need("Landlock", "Linux 5.13 or later with /usr/bin/python3")
NPM = Need("the npm registry", "a connection to it, or an .npmrc that names a mirror")
