"""What deploy/ promises: images without setuid files, writable places or compilers; one launcher that alone has the socket."""

from __future__ import annotations

import importlib.metadata
import io
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from arena.running import lanes, zone
from sandbox import Job, Limits, Mount
from sandbox.docker.sandbox import DockerSandbox, DockerSettings, connect
from sandbox.launcher.server import LauncherSettings
from tests.sandbox.conformance.support import said
from tests.sandbox.engine import reachable_engine

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "deploy" / "images"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("prepare", "fetch", "web", "sweeper", "worker", "looker", "launcher")
# A small system to build on where no registry can be reached: enough to run the build's own steps, and what they must undo.
PROGRAMS = (
    "sh", "cat", "chmod", "chown", "env", "false", "find", "head", "id", "mkdir", "rm", "sleep", "su", "tail", "touch", "true",
)  # fmt: skip
COPIED = ("evaluator", "sandbox", "challenges", "platform/arena", "manage.py", "deploy/launcher.toml", "deploy/images/harden")


def libraries(program: Path) -> set[Path]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", told)}


def system() -> bytes:
    """This machine's own shell and tools with a setuid program, a compiler, a cache and a world-writable folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for link in ("bin", "lib", "lib64"):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            archive.addfile(entry)
        for folder, mode in (
            ("tmp", 0o1777),
            ("var/log", 0o755),
            ("srv", 0o777),
            ("dev", 0o755),
            ("proc", 0o755),
            ("run", 0o755),
        ):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        files = {Path("/usr/bin", name) for name in PROGRAMS}
        for file in files | {library for program in files for library in libraries(program)}:
            name = file if file.is_relative_to("/usr") else Path("/usr") / file.relative_to("/")
            archive.add(file.resolve(), str(name.relative_to("/")))
        for name, mode in (("usr/bin/gcc", 0o755), ("usr/local/bin/pip", 0o755), ("var/log/build.log", 0o666)):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = mode, 1
            archive.addfile(entry, io.BytesIO(b"x"))
    return buffer.getvalue()


def packages() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("opt/redoubt/package/__init__.py")
        entry.mode = 0o666
        archive.addfile(entry)
    return buffer.getvalue()


def context(later: int = 0) -> bytes:
    """What the build may see of the repository, without what is large."""

    def kept(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
        item.mtime += later
        return None if "__pycache__" in item.name or item.name.endswith((".safetensors", ".npz", ".parquet")) else item

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in (*COPIED, "deploy/images/Dockerfile"):
            archive.add(ROOT / name, name, filter=kept)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def built() -> Iterator[dict[str, str]]:
    """The identifiers of both images, built by the Dockerfile itself."""
    reachable_engine()
    api = connect(DockerSettings())
    tags = ("redoubt-test-system", "redoubt-test-packages")
    try:
        for tag, content in zip(tags, (system(), packages()), strict=True):
            api.import_image_from_data(content, repository=tag, tag="latest")
        yield {target: build(api, target, tags) for target in ("evaluator", "site")}
    finally:
        for name in ("redoubt-test-evaluator", "redoubt-test-site", *tags):
            api.remove_image(name, force=True)


def build(api: Any, target: str, tags: tuple[str, str], *, later: int = 0) -> str:
    """The identifier of the image. later: how many seconds the checkout is younger than it is."""
    steps = api.build(
        fileobj=io.BytesIO(context(later)),
        custom_context=True,
        dockerfile="deploy/images/Dockerfile",
        target=target,
        buildargs={"SYSTEM": f"{tags[0]}:latest", "PACKAGES": f"{tags[1]}:latest"},
        network_mode="none",
        nocache=later > 0,
        tag=f"redoubt-test-{target}",
        rm=True,
        forcerm=True,
        decode=True,
    )
    told = list(steps)
    assert not [step for step in told if "error" in step], told[-3:]
    return str(api.inspect_image(f"redoubt-test-{target}")["Id"])


def look(image: str, script: str) -> list[str]:
    """What a job sees in a container of this image, made as production makes it."""
    job = Job(("/bin/sh", "-c", f"{{ {script}; }} >&2"), limits=Limits(log_kb=256))
    return said(DockerSandbox(DockerSettings(image=image)), job).splitlines()


@pytest.mark.docker
@pytest.mark.parametrize("target", ["evaluator", "site"])
def test_an_image_has_nothing_setuid_nothing_writable_and_no_compiler(built: dict[str, str], target: str) -> None:
    image = built[target]
    assert look(image, "find / -xdev -perm /6000 ! -type d") == []
    writable = look(image, "find / -xdev ! -type l -writable ! -path '/proc*' ! -path '/dev*' 2>/dev/null; true")
    # The folder of named pipes is the stream to the job; the rest is memory that is bounded and gone afterwards.
    assert {name for name in writable if not name.startswith("/run/sandbox")} <= {"/tmp"}
    tools = look(image, r"find / -xdev -name 'gcc*' -o -xdev -name pip -o -xdev -name '*.pyc' -o -xdev -name '*.log'")
    assert tools == []
    assert look(image, "find /opt/redoubt -newermt '1970-01-02' 2>/dev/null; true") == [], "every build has the same times"
    assert "/opt/redoubt/evaluator/host/wire.py" in look(image, "find /opt/redoubt/evaluator -name wire.py")
    assert "/opt/redoubt/package/__init__.py" in look(image, "find /opt/redoubt/package -type f")


@pytest.mark.docker
def test_jobs_and_the_sites_processes_can_write_to_their_temporary_folder(built: dict[str, str]) -> None:
    assert look(built["evaluator"], "touch /tmp/mine && cat /tmp/mine && echo written") == ["written"]
    api, service = connect(DockerSettings()), SERVICES["launcher"]
    (mount,) = service["tmpfs"]
    place, _, options = mount.partition(":")
    host = api.create_host_config(network_mode="none", read_only=True, cap_drop=service["cap_drop"], tmpfs={place: options})
    made = api.create_container(built["site"], ["touch", "/tmp/mine"], host_config=host)
    try:
        api.start(made)
        assert api.wait(made, timeout=30)["StatusCode"] == 0
    finally:
        api.remove_container(made, force=True)


@pytest.mark.docker
def test_two_builds_of_the_same_inputs_are_the_same_bytes(built: dict[str, str]) -> None:
    api = connect(DockerSettings())
    again = build(api, "evaluator", ("redoubt-test-system", "redoubt-test-packages"), later=1000)
    first, second = (api.inspect_image(image)["RootFS"]["Layers"] for image in (built["evaluator"], again))
    assert len(first) == 1
    assert first == second


@pytest.mark.docker
def test_the_evaluators_image_runs_as_nobody_and_holds_nothing_of_the_site(built: dict[str, str]) -> None:
    api = connect(DockerSettings())
    assert api.inspect_image(built["evaluator"])["Config"]["User"] == "65534:65534"
    assert api.inspect_image(built["site"])["Config"]["User"] == "10001:10001"
    assert len(look(built["site"], "find /run/redoubt /var/lib/redoubt/data -user 10001")) == 2
    there = look(built["evaluator"], "find /opt/redoubt -maxdepth 1")
    assert sorted(there) == ["/opt/redoubt", "/opt/redoubt/evaluator", "/opt/redoubt/package"]


def test_images_come_by_digest_and_packages_by_exact_version() -> None:
    for name in ("Dockerfile", "packages.Dockerfile"):
        text = (IMAGES / name).read_text()
        assert re.findall(r"^FROM (\S+)", text, re.M)
        assert set(re.findall(r"^FROM (\S+)", text, re.M)) <= {"${SYSTEM}", "${PACKAGES}", "scratch"}
        assert "http" not in text, "which index is the operator's to say"
    assert {service["image"].partition(":?")[0] for service in SERVICES.values()} == {
        "${SITE_IMAGE",
        "${POSTGRES_IMAGE",
        "${REDIS_IMAGE",
    }
    lock = (ROOT / "requirements" / "production.txt").read_text()
    for name in evaluators_packages():
        assert re.search(rf"^{name}==", lock, re.M), f"{name} is not in the lock"


def evaluators_packages() -> list[str]:
    """What the evaluator's image is made with, by name."""
    return [line for line in (IMAGES / "evaluator.txt").read_text().splitlines() if not line.startswith("#")]


def test_the_evaluators_packages_are_all_that_its_programs_import() -> None:
    script = """
import importlib.metadata, sys
sys.path[:0] = ["."]
import evaluator.attacks, evaluator.defenses.architectures, evaluator.host.attack_serve, evaluator.host.serve
tops = {name.partition(".")[0] for name in sys.modules}
found = importlib.metadata.packages_distributions()
print(*{name.lower().replace("_", "-") for top in tops for name in found.get(top, [])})
"""
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    listed, queue = set[str](), evaluators_packages()
    while queue:
        name = canonicalize_name(queue.pop())
        listed.add(name)
        needs = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        wanted = {need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})}
        queue += [need for need in wanted if canonicalize_name(need) not in listed]
    # Read where they are installed, and not missed where they are not.
    assert set(told) - listed <= {"charset-normalizer", "tqdm", "redoubt", "opt-einsum", "psutil"}


@pytest.mark.parametrize("name", OURS)
def test_every_process_of_ours_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service.get("network_mode", "none") == "none"


def test_only_the_launcher_holds_the_engines_socket_and_it_has_neither_network_nor_secrets() -> None:
    def holds(service: dict[str, Any]) -> bool:
        return any("docker.sock" in volume for volume in service.get("volumes", []))

    assert [name for name, service in SERVICES.items() if holds(service)] == ["launcher"]
    launcher = SERVICES["launcher"]
    assert (launcher["network_mode"], launcher.get("networks")) == ("none", None)
    assert set(launcher["environment"]) == {"SANDBOX_IMAGE"}
    assert not any(volume.startswith("data:") for volume in launcher["volumes"])
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "outside" in service.get("networks", [])] == ["fetch", "web"]


def test_worker_launcher_and_programs_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_IMAGE", f"sha256:{'0' * 64}")
    settings = LauncherSettings.read(ROOT / "deploy" / "launcher.toml")
    template, worker = settings.template, SERVICES["worker"]["environment"]
    assert worker["TMPDIR"] == str(template.inputs)
    assert worker["SANDBOX_SCRATCH"] == str(template.scratch)
    assert worker["SANDBOX_LAUNCHER"] == str(settings.listen)
    assert worker["REDOUBT_SANDBOX"] == "launcher"
    jobs = str(template.inputs.parent)
    assert template.scratch.parent == template.inputs.parent
    assert all(f"{jobs}:{jobs}" in SERVICES[name]["volumes"] for name in ("worker", "launcher")), "the engine's own path"
    assert {SERVICES[name]["environment"]["REDOUBT_CACHE"] for name in ("fetch", "web", "worker")} == {worker["REDOUBT_CACHE"]}
    assert template.programs == {
        "evaluator.host.serve": lanes.SUBMISSION,
        "evaluator.host.attack_serve": zone.ATTACK,
    }
    weights = zone.weights_within([Mount(ROOT / "evaluator", PurePosixPath("/opt/redoubt/evaluator"))])
    assert template.hidden == {"evaluator.host.attack_serve": weights}
    assert len(weights) == 2
    assert settings.engine.image == f"sha256:{'0' * 64}"
    assert tomllib.loads((ROOT / "deploy" / "launcher.toml").read_text())["ceilings"].keys() == {
        *vars(Limits()),
    }
