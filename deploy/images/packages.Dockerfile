# Everything installed, in /opt/redoubt: the only step that needs a package index, and nothing of it is ever run.
#
#   docker build -f deploy/images/packages.Dockerfile --target evaluator --build-arg SYSTEM=PYTHON@sha256:... -t redoubt-evaluator-packages .
#
# Targets: evaluator, site. SYSTEM: a slim Python 3.11 image, by digest. pip resolves against the lock, so torch brings along the
# libraries that its build needs: PyPI's for Linux is a CUDA build. TORCH_INDEX: URL of a further index, for another build of torch,
# such as the one without CUDA.
ARG SYSTEM

FROM ${SYSTEM} AS evaluator
ARG TORCH_INDEX=
COPY requirements/production.txt requirements/constraints.txt deploy/images/evaluator.txt /build/
# No byte code: it holds times.
RUN python3 -m pip install --no-cache-dir --no-compile --target /opt/redoubt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        --constraint /build/production.txt -r /build/evaluator.txt

FROM ${SYSTEM} AS site
ARG TORCH_INDEX=
COPY requirements/production.txt requirements/constraints.txt /build/
RUN python3 -m pip install --no-cache-dir --no-compile --target /opt/redoubt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        -r /build/production.txt
