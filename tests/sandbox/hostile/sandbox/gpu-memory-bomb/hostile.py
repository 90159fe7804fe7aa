import ctypes
import glob
import os

from attempts import attempt, done, escaped

for device in (*glob.glob("/dev/nvidia*"), *glob.glob("/dev/dri/*"), "/dev/kfd"):
    if os.path.exists(device):
        escaped(f"the device {device} is there")


def allocate() -> str:
    driver = ctypes.CDLL("libcuda.so.1")
    if driver.cuInit(0) != 0:
        raise OSError("no GPU")
    return "a GPU"


attempt("cuInit", allocate)
done()
