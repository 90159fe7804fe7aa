"""A submission that tries to carry something from one of its processes to the next, by every way that its author knew.

Each logit is one way: 1 where something was read that a process before this one wrote. An image of 0.5 reads and writes by the
ways that leave no trace in the sandbox's files, one of 1 by all, one of 0 only reads.
"""

KEEPER = r'''
import ctypes, fcntl, mmap, os, signal, socket, sys, threading, time
from pathlib import Path
import torch
from torch import nn

libc = ctypes.CDLL(None, use_errno=True)
shared = mmap.mmap(-1, 4096)  # MAP_SHARED, made at load
parent = os.getppid()


def seldom(action):
    try:
        return float(action() or 0)
    except (OSError, ValueError, IndexError):
        return 0.0


class Way:
    """read() tells whether somebody has written; write() writes."""


class Counter(Way):
    seen = 0
    def read(self): return Counter.seen
    def write(self): Counter.seen = 1


class SharedMapping(Way):
    def read(self): return shared[0]
    def write(self): shared[0] = 1


class Environment(Way):
    def read(self): return "KEPT" in os.environ or os.getcwd() == "/usr"
    def write(self): os.environ["KEPT"] = "1"; os.chdir("/usr")


class Orphan(Way):
    """A process that has left its family and answers on an abstract socket."""
    def read(self):
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(2)
            end.connect("\0kept")
            return end.recv(1) == b"1"
    def write(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\0kept")
        listener.listen()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                while True:
                    peer, _ = listener.accept()
                    peer.send(b"1")
                    peer.close()
            os._exit(0)
        listener.close()


class ParentMemory(Way):
    def read(self):
        with open(f"/proc/{parent}/mem", "r+b") as memory:
            return 1
    def write(self): pass


class FirstProcess(Way):
    """What can be written about the first process of the sandbox."""
    def read(self): return Path("/proc/1/oom_score_adj").read_text().strip() == "77"
    def write(self): Path("/proc/1/oom_score_adj").write_text("77")


class Importance(Way):
    def read(self): return os.getpriority(os.PRIO_PROCESS, parent) == 7
    def write(self): os.setpriority(os.PRIO_PROCESS, parent, 7)


class Policy(Way):
    def read(self): return os.sched_getscheduler(parent) == os.SCHED_BATCH
    def write(self): os.sched_setscheduler(parent, os.SCHED_BATCH, os.sched_param(0))


class ParentLimits(Way):
    def read(self):
        import resource
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 99
    def write(self):
        import resource
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (99, 99))


class PipeSize(Way):
    def read(self): return fcntl.fcntl(2, 1032) == 8192
    def write(self): fcntl.fcntl(2, 1031, 8192)


class OpenFileFlags(Way):
    def read(self): return any(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND for fd in (0, 1, 2))
    def write(self):
        for fd in (0, 1, 2):
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)


class OwnLog(Way):
    def read(self):
        end = os.open("/proc/self/fd/2", os.O_RDONLY | os.O_NONBLOCK)
        try:
            return b"kept" in os.read(end, 65536)
        finally:
            os.close(end)
    def write(self): os.write(2, b"kept")


class ProcessNumbers(Way):
    """Uses up process numbers: a successor whose own does not begin where all lives begin knows."""
    def read(self): return os.getpid() % 64 not in (0, 1)
    def write(self):
        for _ in range(9):
            thread = threading.Thread(target=time.sleep, args=(0,))
            thread.start()
            thread.join()


class TimeOfOthers(Way):
    """What the processes before this one have computed, as the first process's children."""
    def read(self):
        fields = Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[13]) + int(fields[14]) > 0
    def write(self): pass


class Switches(Way):
    """How often the relay was woken: a count of passes."""
    def read(self):
        return any(Path(f"/proc/{pid}/status").exists() and "ctxt" in Path(f"/proc/{pid}/status").read_text()
                   for pid in range(parent, os.getpid() + 2) if pid != os.getpid())
    def write(self): pass


class ClockOfParent(Way):
    def read(self):
        spent = (ctypes.c_long * 2)()
        return libc.clock_gettime(ctypes.c_int((~parent << 3) | 2), spent) == 0
    def write(self): pass


class Generator(Way):
    def read(self): return torch.initial_seed() == 4242
    def write(self): torch.manual_seed(4242)


class Frames(Way):
    """The names and numbers on the stack and in the modules that serve: nothing there may tell one life from another."""
    def read(self):
        frame, seen = sys._getframe(), []
        while frame is not None:
            seen += [f"{k}={v}" for k, v in frame.f_locals.items() if isinstance(v, (int, str, bytes)) and k[0] != "_"]
            frame = frame.f_back
        return any("renew" in text or "spent" in text for text in seen)
    def write(self): pass


QUIET = [way() for way in (Counter, SharedMapping, Environment, Orphan, ParentMemory, FirstProcess, Importance, Policy,
         ParentLimits, PipeSize, OpenFileFlags, OwnLog, ProcessNumbers, TimeOfOthers, Switches, ClockOfParent, Generator,
         Frames)]


class Scratch(Way):
    def __init__(self, place): self.path = Path(place) / "kept"
    def read(self): return self.path.exists()
    def write(self): self.path.write_text("1")


class SocketFile(Way):
    def read(self): return os.path.exists("/tmp/socket")
    def write(self):
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("/tmp/socket")


class FileNumbers(Way):
    """A file system in memory numbers its files."""
    def made(self):
        file = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR, 0o600)
        try:
            return os.fstat(file).st_ino
        finally:
            os.close(file)
    def read(self): return self.made() > 100
    def write(self):
        for _ in range(100): self.made()


class FolderMode(Way):
    def read(self): return os.stat("/dev/shm").st_mode & 0o777 == 0o700
    def write(self): os.chmod("/dev/shm", 0o700)


LOUD = [Scratch("/tmp"), Scratch("/dev/shm"), SocketFile(), FileNumbers(), FolderMode()]
WAYS = [*QUIET, *LOUD]


class Keeper(nn.Module):
    def forward(self, x):
        quiet, writes = float(x.mean()) == 0.5, float(x.mean()) > 0
        found = [0.0 if quiet and way in LOUD else seldom(way.read) for way in WAYS]
        for way in QUIET if quiet else WAYS:
            if writes:
                seldom(way.write)
        return torch.tensor([found]).expand(len(x), -1) + 0 * x.flatten(1)[:, :1]


def load(directory):
    return Keeper()
'''
QUIET = [
    *("Counter", "SharedMapping", "Environment", "Orphan", "ParentMemory", "FirstProcess", "Importance", "Policy"),
    *("ParentLimits", "PipeSize", "OpenFileFlags", "OwnLog", "ProcessNumbers", "TimeOfOthers", "Switches", "ClockOfParent"),
    *("Generator", "Frames"),
]
LOUD = ["/tmp", "/dev/shm", "SocketFile", "FileNumbers", "FolderMode"]
