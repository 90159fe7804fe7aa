import math

from frames import frame, serve

serve(vjp=lambda asked, shape: frame("gradient", {"gradient": ("F16", shape, bytes(2 * math.prod(shape)))}))
