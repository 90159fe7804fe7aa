import mmap

from attempts import attempt, done, system_call

page = mmap.mmap(-1, 8 << 20)


def lock() -> None:
    if system_call(151, 3) < 0:
        raise OSError("refused by the limit on locked memory")


page.write(bytes(8 << 20))
attempt("mlockall", lock)
done()
