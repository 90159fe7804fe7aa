from archives import zip_with


def build() -> bytes:
    return zip_with(("/etc/cron.d/hostile", "x"))
