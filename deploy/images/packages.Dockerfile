# Everything installed, in /opt/redoubt: the only step that needs a package index, and nothing of it is ever run.
#
#   docker build -f deploy/images/packages.Dockerfile --target evaluator --build-arg SYSTEM=PYTHON@sha256:... -t redoubt-evaluator-packages .
#
# Targets: evaluator, site. SYSTEM: a slim Python 3.11 image, by digest. For GPUs: --build-arg VARIANT=cuda --build-arg TORCH_INDEX=URL
# of the index with that variant's wheels; for the CPU, TORCH_INDEX may name the one with the wheels that carry no CUDA.
ARG SYSTEM

FROM ${SYSTEM} AS evaluator
ARG VARIANT=cpu
ARG TORCH_INDEX=
COPY requirements.txt deploy/images/evaluator.txt /build/
# Exact versions from the lock, no byte code (it holds times), and the rest of what CUDA wheels need only where they are wanted.
RUN grep -E -f /build/evaluator.txt /build/requirements.txt > /build/wanted.txt \
    && python3 -m pip install --no-cache-dir --no-compile --no-deps --target /opt/redoubt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r /build/wanted.txt \
    && if [ "$VARIANT" = cuda ]; then \
        python3 -m pip install --no-cache-dir --no-compile --upgrade --target /opt/redoubt --index-url "$TORCH_INDEX" \
            $(grep -E '^(torch|torchvision)==' /build/requirements.txt); fi

FROM ${SYSTEM} AS site
COPY requirements.txt /build/
RUN python3 -m pip install --no-cache-dir --no-compile --no-deps --target /opt/redoubt -r /build/requirements.txt
