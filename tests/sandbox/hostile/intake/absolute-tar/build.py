from archives import tarred


def build() -> bytes:
    return tarred([(b"/etc/cron.d/hostile", "x", b"0")])
