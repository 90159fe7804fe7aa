"""The seccomp profile: which system calls a job may make, written once, given to bubblewrap as BPF and to Docker as JSON.

An allow-list. Whatever is not named fails with ENOSYS, so that libraries take their fallback (clone3 -> clone) instead of
aborting. Calls that are dangerous and well known fail with EPERM, which reads better in a team's log. A program of another
architecture (32-bit calls on a 64-bit kernel) is killed.
"""

from __future__ import annotations

import errno
import functools
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.base import SandboxError
from sandbox.kernel.bpf import RET_ALLOW, RET_KILL_PROCESS, Program, errno_action
from sandbox.kernel.syscalls import ARCHITECTURES, Architecture

_INT = 0xFFFFFFFF
# All CLONE_NEW* flags of linux/sched.h that clone takes.
_CLONE_NAMESPACES = 0x7E020000
# What libraries ask of any descriptor (TCGETS TIOCGPGRP TIOCSPGRP TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX FIOASYNC). With
# TIOCSTI or TIOCLINUX a job could type into the terminal that started it.
_IOCTLS = (0x5401, 0x540F, 0x5410, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x5452)
# What fcntl is needed for (F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_DUPFD_CLOEXEC F_SETPIPE_SZ F_GETPIPE_SZ). Its locks and
# notices, like flock and inotify, would tell a job what others do with a file that both of them read.
_FCNTL = (0, 1, 2, 3, 4, 1030, 1031, 1032)


@dataclass(frozen=True)
class Masked:
    """Holds when `argument & mask == value`. Where the kernel reads an int, the mask must drop the upper half. A comparison of
    all 64 bits would be passed by setting bits that the kernel ignores (CVE-2019-10063)."""

    argument: int
    mask: int
    value: int


@dataclass(frozen=True)
class Rule:
    """`calls` get `errno` (0 = allowed) when any condition of `when` holds, or always when there is none.

    otherwise: the errno when no condition holds, of which there may then be only one; None for the profile's default.
    """

    calls: tuple[str, ...]
    errno: int = 0
    when: tuple[Masked, ...] = ()
    otherwise: int | None = None


@dataclass(frozen=True)
class Profile:
    """Rules and the errno of everything that no rule names. A call is named by one rule only."""

    rules: tuple[Rule, ...]
    default_errno: int


_FILES = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 execve execveat faccessat faccessat2
    fadvise64 fallocate fchdir fchmod fchmodat fchown fchownat fdatasync fgetxattr flistxattr fstat fstatfs fsync ftruncate
    futimesat getcwd getdents getdents64 getxattr lchown lgetxattr link linkat listxattr llistxattr lseek lstat mkdir
    mkdirat newfstatat open openat openat2 pipe pipe2 pread64 preadv pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv rename renameat renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat
    sync_file_range tee truncate umask unlink unlinkat utime utimensat utimes write writev
"""
_MEMORY = """
    brk get_mempolicy madvise mbind membarrier mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap
    set_mempolicy
"""
_PROCESSES = """
    arch_prctl capget capset exit exit_group fork getcpu getegid geteuid getgid getgroups getpgid getpgrp getpid getppid
    getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid kill pidfd_open pidfd_send_signal prctl
    restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_yield
    setgid setgroups setpgid setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack sysinfo
    tgkill tkill uname vfork wait4 waitid
"""
# With these a process can only give up rights; the job's launcher needs them inside.
_CONFINING = "landlock_add_rule landlock_create_ruleset landlock_restrict_self"
_WAITING = """
    alarm clock_getres epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait
    eventfd eventfd2 futex futex_waitv get_robust_list getitimer getrandom gettimeofday nanosleep pause poll ppoll pselect6
    rseq select set_robust_list set_tid_address setitimer signalfd signalfd4 time timer_delete timer_getoverrun
    timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times
"""
# A job may leave nothing with a process that outlives another: of these it may change or ask only itself (0).
_OWN = "prlimit64 sched_setattr sched_setparam sched_setscheduler"
# A negative clock is the processor time of some process.
_CLOCKS = "clock_gettime clock_nanosleep timer_create"
_CLOCK_OF_A_PROCESS = 0x80000000
# Only of use on AF_UNIX sockets, the one family that can be created.
_SOCKETS = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto
    setsockopt shutdown
"""
# sched_setaffinity: the cores a job was given are a limit. setpriority: it would last with a process that outlives another.
# memfd_create, shmget: memory that no per-process limit counts.
_REFUSED = """
    acct add_key bpf chroot clock_settime delete_module fanotify_init finit_module flock fsconfig fsmount fsopen fspick
    init_module inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_uring_enter io_uring_register
    io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl memfd_create memfd_secret mknod mknodat modify_ldt
    mount mount_setattr move_mount mq_open msgget name_to_handle_at open_by_handle_at open_tree perf_event_open personality
    pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl reboot request_key
    sched_setaffinity seccomp semget setdomainname sethostname setns setpriority settimeofday shmget swapoff swapon syslog
    umount2 unshare userfaultfd vhangup
"""

PROFILE = Profile(
    rules=(
        Rule(tuple(sorted((_FILES + _MEMORY + _PROCESSES + " " + _CONFINING + _WAITING + _SOCKETS).split()))),
        Rule(tuple(_OWN.split()), when=(Masked(0, _INT, 0),), otherwise=errno.EPERM),
        Rule(tuple(_CLOCKS.split()), when=(Masked(0, _CLOCK_OF_A_PROCESS, 0),)),
        # RWF_NOWAIT would tell which pages of a file somebody has read before.
        Rule(("preadv2",), when=(Masked(5, _INT, 0),), otherwise=errno.EOPNOTSUPP),
        Rule(("clone",), when=(Masked(0, _CLONE_NAMESPACES, 0),)),
        Rule(("clone3",), errno=errno.ENOSYS),
        Rule(("socket", "socketpair"), when=(Masked(0, _INT, int(socket.AF_UNIX)),), otherwise=errno.EAFNOSUPPORT),
        Rule(("fcntl",), when=tuple(Masked(1, _INT, command) for command in _FCNTL)),
        Rule(("ioctl",), when=tuple(Masked(1, _INT, command) for command in _IOCTLS)),
        Rule(tuple(_REFUSED.split()), errno=errno.EPERM),
    ),
    default_errno=errno.ENOSYS,
)


def architecture(machine: str | None = None) -> Architecture:
    """The table of this machine. Raises SandboxError on an architecture without one."""
    name = machine or platform.machine()
    found = ARCHITECTURES.get(name)
    if found is None:
        raise SandboxError(f"No seccomp profile for the architecture {name}: it exists for {', '.join(ARCHITECTURES)}.")
    return found


@functools.cache
def bpf(profile: Profile = PROFILE, machine: str | None = None) -> bytes:
    """The profile as a seccomp program for this machine (or the one named)."""
    target = architecture(machine)
    program = Program().load_architecture().skip_if_equal(target.audit, 1).give(RET_KILL_PROCESS).load_number()
    for rule in profile.rules:
        for call in rule.calls:
            if call in target.numbers:
                program.extend(_decide(target.numbers[call], rule, profile.default_errno))
    return program.give(errno_action(profile.default_errno)).assemble()


def _decide(number: int, rule: Rule, default_errno: int) -> Program:
    """Decides one call; another call passes through with its number still in the accumulator."""
    action = RET_ALLOW if rule.errno == 0 else errno_action(rule.errno)
    if not rule.when:
        return Program().skip_unless_equal(number, 1).give(action)
    body = Program()
    for condition in rule.when:
        body.extend(_when(condition, action))
    body.give(errno_action(default_errno if rule.otherwise is None else rule.otherwise))
    return Program().skip_unless_equal(number, len(body)).extend(body)


def _when(condition: Masked, action: int) -> Program:
    """Gives `action` where the condition holds, otherwise falls through. Compares the two halves of the argument in turn."""
    halves = [
        (high, condition.mask >> shift & _INT, condition.value >> shift & _INT)
        for high, shift in ((False, 0), (True, 32))
        if (condition.mask | condition.value) >> shift & _INT
    ]
    program = Program().give(action)
    for high, mask, value in reversed(halves):
        skip = len(program)
        program = (
            Program().load_argument(condition.argument, high=high).mask(mask).skip_unless_equal(value, skip).extend(program)
        )
    return program


def docker_json(profile: Profile = PROFILE, machine: str | None = None) -> Mapping[str, object]:
    """The profile as the JSON object that Docker's `--security-opt seccomp=` takes."""
    target = architecture(machine)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": profile.default_errno,
        "architectures": [target.docker],
        "syscalls": [entry for rule in profile.rules for entry in _docker_entries(rule, target)],
    }


def _docker_entries(rule: Rule, target: Architecture) -> list[dict[str, object]]:
    """One entry for each condition: Docker joins the conditions of one entry with "and", ours are joined with "or"."""
    entry: dict[str, object] = {"names": [call for call in rule.calls if call in target.numbers]}
    entry |= {"action": "SCMP_ACT_ERRNO", "errnoRet": rule.errno} if rule.errno else {"action": "SCMP_ACT_ALLOW"}
    comparisons = [
        {"index": one.argument, "value": one.mask, "valueTwo": one.value, "op": "SCMP_CMP_MASKED_EQ"} for one in rule.when
    ]
    entries = [entry | {"args": [comparison]} for comparison in comparisons] or [entry]
    if rule.otherwise is not None:
        # libseccomp has no "masked unequal". Compared in full: a value with bits that the kernel ignores may get the default.
        (only,) = rule.when
        unequal = {"index": only.argument, "value": only.value, "op": "SCMP_CMP_NE"}
        entries.append(entry | {"action": "SCMP_ACT_ERRNO", "errnoRet": rule.otherwise, "args": [unequal]})
    return entries
