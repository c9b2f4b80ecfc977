# The demo worker. Take it as a pattern for yours: a user without rights, and a volume for the
# spool, which has to outlive the container. What goes in is named by its hash: the image by its
# digest (docker-compose.yml says how to take a newer one), packages in docker/ (make constraints).

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS python

FROM python AS build
WORKDIR /build
COPY docker/build.txt /tmp/build.txt
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/build.txt
COPY . .
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python
COPY docker/worker.txt /tmp/worker.txt
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/worker.txt
RUN --mount=from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --no-index /wheels/llm_audit-*.whl
RUN useradd --system worker && install -d -o worker -m 0700 /var/lib/llm-audit/spool
USER worker
VOLUME /var/lib/llm-audit/spool
ENV LLM_AUDIT_SPOOL_DIR=/var/lib/llm-audit/spool
CMD ["celery", "-A", "llm_audit.demo.tasks:app", "worker", "--loglevel=INFO"]
