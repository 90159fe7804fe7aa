import os

from frames import serve

serve(forward=lambda asked: os.kill(os.getpid(), 9) or b"")
