import resource

from attempts import attempt, done

for name in ("RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_MEMLOCK"):
    attempt(name, lambda name=name: resource.setrlimit(getattr(resource, name), (1 << 40, 1 << 40)))
done()
