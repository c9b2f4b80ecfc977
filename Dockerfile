# The demo worker. Take it as a pattern for yours: a user without rights, and a volume for the
# spool, which has to outlive the container.

FROM python:3.13-slim AS build
WORKDIR /build
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY constraints.txt /tmp/constraints.txt
RUN --mount=from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --constraint /tmp/constraints.txt \
      "$(echo /wheels/llm_audit-*.whl)[celery,openai]"
RUN useradd --system worker && install -d -o worker -m 0700 /var/lib/llm-audit/spool
USER worker
VOLUME /var/lib/llm-audit/spool
ENV LLM_AUDIT_SPOOL_DIR=/var/lib/llm-audit/spool
CMD ["celery", "-A", "llm_audit.demo.tasks:app", "worker", "--loglevel=INFO"]
