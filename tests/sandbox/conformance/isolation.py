"""What a job cannot see, reach or become."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import sandbox as package
from sandbox import Exit, Job, Limits, Mount, Sandbox
from tests.sandbox.conformance.support import PYTHON, finish, full, python, said, shell

_SYSTEM_CALLS = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(argument) for argument in arguments))
    return 0 if result >= 0 else ctypes.get_errno()
"""
# x86_64 numbers, with arguments under which an unconfined process would be told something else or succeed.
_DANGEROUS = {
    "ptrace(TRACEME)": (101, 0, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "keyctl": (250, 0, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "userfaultfd": (323, 0),
    "io_uring_setup": (425, 1, 0),
    "unshare(NEWUSER)": (272, 0x10000000),
    "clone(NEWUSER)": (56, 0x10000011, 0, 0, 0, 0),
    "clone3": (435, 0, 0),
    "setns": (308, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0),
    "pivot_root": (155, 0, 0),
    "chroot": (161, 0),
    "open_tree": (428, 0, 0, 0),
    "fsopen": (430, 0, 0),
    "name_to_handle_at": (303, 0, 0, 0, 0, 0),
    "open_by_handle_at": (304, 0, 0, 0),
    "personality(ADDR_NO_RANDOMIZE)": (135, 0x0040000),
    "kexec_load": (246, 0, 0, 0, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, 0, 0, 0),
    "syslog": (103, 3, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0),
    "memfd_secret": (447, 0),
    "memfd_create": (319, 0, 0),
    "shmget": (29, 0, 4096, 0o1600),
    "msgget": (68, 0, 0o1600),
    "mq_open": (240, 0, 0, 0, 0),
    "sched_setaffinity": (203, 0, 8, 0),
    "seccomp": (317, 0, 0, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "ioctl(TIOCSTI)": (16, 0, 0x5412, 0),
    "ioctl(TIOCSTI, high bits)": (16, 0, 0x100005412, 0),
    "ioctl(TIOCLINUX)": (16, 0, 0x541C, 0),
    "socket(AF_INET, high bits)": (41, 0x100000002, 1, 0),
}


@contextmanager
def _secret() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret").write_text("host")
        yield folder


def inputs_can_be_read_and_not_changed(sandbox: Sandbox) -> None:
    with _secret() as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "deep").write_text("below")
        mounts = (Mount(folder, PurePosixPath("/input/data")), Mount(folder / "secret", PurePosixPath("/input/file")))
        script = """
        cat /input/data/secret /input/data/sub/deep /input/file >&2
        for try in 'echo x > /input/data/secret' 'echo x >> /input/file' 'touch /input/data/new' 'rm -f /input/data/secret' \\
            'chmod 777 /input/data/secret' 'mv /input/data/secret /tmp' 'ln /input/data/secret /input/data/link' \\
            'touch /input/new' 'mkdir /input/data/sub/x'; do
          if ( eval "$try" ) 2>/dev/null; then echo "could: $try" >&2; fi
        done
        """
        before = {path: (path.stat().st_mode, path.stat().st_mtime_ns) for path in folder.rglob("*")}
        assert said(sandbox, shell(script, mounts=mounts)) == "hostbelowhost"
        assert {path: (path.stat().st_mode, path.stat().st_mtime_ns) for path in folder.rglob("*")} == before


def what_is_hidden_below_an_input_appears_empty(sandbox: Sandbox) -> None:
    with _secret() as folder:
        for name in ("hidden", "shown"):
            (folder / name).mkdir()
            (folder / name / "weights").write_text(name)
        script = "ls /input/hidden >&2; cat /input/shown/weights >&2; touch /input/hidden/new 2>/dev/null && echo w >&2; true"
        job = shell(script, mounts=(Mount(folder, PurePosixPath("/input")),))
        assert said(sandbox, replace(job, hidden=(PurePosixPath("/input/hidden"),))) == "shown"
        assert (folder / "hidden" / "weights").read_text() == "hidden"


def host_files_are_not_there(sandbox: Sandbox) -> None:
    with _secret() as folder:
        paths = [
            folder / "secret",
            Path(package.__file__),
            Path("/root"),
            Path("/home"),
            Path("/var"),
            Path("/boot"),
            Path("/mnt"),
        ]
        paths += [Path("/etc") / name for name in ("passwd", "shadow", "group", "ssl", "machine-id")]
        paths += [Path("/proc/1/root") / str(folder / "secret")[1:], Path("/proc/self/root") / str(folder / "secret")[1:]]
        script = 'for path; do if [ -e "$path" ]; then echo "$path" >&2; fi; done'
        assert said(sandbox, shell(script, *map(str, paths))) == ""


def host_names_and_servers_are_not_told(sandbox: Sandbox) -> None:
    files = "/etc/resolv.conf /etc/hosts /etc/hostname"
    assert said(sandbox, shell(f"hostname >&2; cat {files} >&2 2>/dev/null; true")) == "sandbox\n"


def the_hosts_folders_are_not_told(sandbox: Sandbox) -> None:
    with _secret() as folder:
        mounts = (Mount(folder, PurePosixPath("/input")),)
        assert str(folder) not in said(sandbox, shell("cat /proc/[0-9]*/cmdline >&2", mounts=mounts))


def nothing_can_be_written_but_the_temporary_folders(sandbox: Sandbox) -> None:
    script = """
import os, sys
for folder, below, _ in os.walk("/"):
    if folder == "/proc" or folder.count("/") > 3:
        below.clear()
    try:
        with open(os.path.join(folder, "trial"), "w"):
            print(folder, file=sys.stderr)
    except OSError:
        pass
"""
    assert set(said(sandbox, python(script)).split()) <= {"/tmp", "/dev/shm", "/dev/mqueue"}


def no_network_socket_can_be_made(sandbox: Sandbox) -> None:
    script = """
import socket, sys
for family in ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_BLUETOOTH", "AF_CAN", "AF_ALG"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(getattr(socket, family), kind)
            print("could:", family, kind, file=sys.stderr)
        except OSError as error:
            if error.errno != 97:
                print(family, error, file=sys.stderr)
left, right = socket.socketpair()
left.send(b"x")
"""
    assert said(sandbox, python(script)) == ""


def the_only_network_interface_is_an_empty_loopback(sandbox: Sandbox) -> None:
    lines = said(sandbox, shell("cat /proc/net/dev >&2")).splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


def sockets_of_the_host_cannot_be_reached(sandbox: Sandbox) -> None:
    import socket

    name = f"\0redoubt-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        script = "import socket, sys\ntry: socket.socket(socket.AF_UNIX).connect(sys.argv[1].replace('@', chr(0)))\n"
        script += "except ConnectionRefusedError: print('refused', file=sys.stderr)"
        assert said(sandbox, python(script, name.replace("\0", "@"))) == "refused\n"


def the_environment_is_the_jobs_and_nothing_else(sandbox: Sandbox) -> None:
    script = "import os, sys; sys.stderr.buffer.write(open('/proc/self/environ', 'rb').read())"
    for environment in ({}, {"A": "b c\n=$HOME", "PWD": "/x", "Ü": "é"}):
        text = said(sandbox, Job((PYTHON, "-I", "-c", script), env=environment))
        assert dict(pair.split("=", 1) for pair in text.split("\0") if pair) == environment


def no_secret_of_the_host_is_in_any_visible_environment(sandbox: Sandbox) -> None:
    os.environ["CONFORMANCE_SECRET"] = "hidden-value"
    try:
        assert "hidden-value" not in said(sandbox, shell("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline >&2 2>/dev/null; true"))
    finally:
        del os.environ["CONFORMANCE_SECRET"]


def other_processes_are_not_visible(sandbox: Sandbox) -> None:
    script = "for process in /proc/[0-9]*; do echo ${process#/proc/} >&2; done"
    assert len(said(sandbox, shell(script)).split()) <= 4


def no_descriptor_is_inherited(sandbox: Sandbox) -> None:
    script = "import os, sys; print(*sorted(os.listdir('/proc/self/fd')), file=sys.stderr)"
    # The last one is the listing itself.
    assert said(sandbox, python(script)).split() == ["0", "1", "2", "3"]


def the_job_is_nobody_without_privileges(sandbox: Sandbox) -> None:
    script = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status >&2"
    status = {key: value.split() for key, value in (line.split(":") for line in said(sandbox, shell(script)).splitlines())}
    assert status["Uid"] == status["Gid"] == ["65534"] * 4
    assert set(status["Groups"]) <= {"65534"}
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind][0], 16) == 0, kind
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])


def what_a_job_writes_cannot_be_executed(sandbox: Sandbox) -> None:
    script = """
for folder in /tmp /dev/shm; do
  cp /usr/bin/true "$folder/mine" && chmod 755 "$folder/mine"
  if "$folder/mine" 2>/dev/null; then echo "could: $folder" >&2; fi
done
"""
    assert said(sandbox, shell(script)) == "" or not full(sandbox, "landlock")


def setuid_programs_give_nothing(sandbox: Sandbox) -> None:
    script = "for p in su mount passwd; do $p --help >/dev/null 2>&1; done; setpriv --reuid 0 id >&2 || echo refused >&2"
    assert said(sandbox, shell(script)).splitlines()[-1] == "refused"


def dangerous_system_calls_are_refused(sandbox: Sandbox) -> None:
    calls = "\n".join(f"print({name!r}, call{arguments}, file=sys.stderr)" for name, arguments in _DANGEROUS.items())
    lines = said(sandbox, python(_SYSTEM_CALLS + calls)).splitlines()
    errors = {name: int(number) for name, _, number in (line.rpartition(" ") for line in lines)}
    assert errors.keys() == _DANGEROUS.keys()
    # EPERM, ENOSYS or EAFNOSUPPORT: the filter's answers. EFAULT, EINVAL or EBADF would be the kernel's own code at work.
    assert {name: number for name, number in errors.items() if number not in (1, 38, 97)} == {}


def a_system_call_of_another_architecture_is_fatal(sandbox: Sandbox) -> None:
    # mov eax, 20 (getpid of 32-bit x86); int 0x80; ret
    script = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""
    with sandbox.start(python(script)) as running:
        assert finish(running) == Exit("signal", None, 31)


def ordinary_threads_processes_and_pipes_work(sandbox: Sandbox) -> None:
    script = """
import multiprocessing, subprocess, sys, threading, tempfile, select, os
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
assert subprocess.run(["/bin/echo", "hi"], capture_output=True).stdout == b"hi\\n"
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
with tempfile.NamedTemporaryFile() as file:
    file.write(b"x"); file.flush(); assert os.path.getsize(file.name) == 1
assert multiprocessing.Array("d", 4)[:] == [0.0] * 4
select.epoll().close()
"""
    assert said(sandbox, python(script, limits=Limits(processes=32))) == ""
