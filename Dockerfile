# One image for every role of the stack: Airflow, Spark master, workers and drivers, MLflow. The same Python,
# the same packages and the same code everywhere is what makes a night on the cluster equal to a local one.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

# -- the operating system: what changes least ------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS system
# curl answers health checks, tini reaps what killed jobs leave, libgomp is xgboost's. No versions: Debian serves only
# the newest one of each, with the security fixes.
# hadolint ignore=DL3008
RUN apt-get update --quiet \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
        ca-certificates curl libgomp1 openjdk-17-jre-headless tini \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s "$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")" /opt/java
ENV JAVA_HOME=/opt/java \
    PATH=/opt/nightshift/bin:$PATH

# -- the locked packages -----------------------------------------------------------------------------------
FROM system AS packages
WORKDIR /build
COPY requirements-uv.txt requirements-image.txt ./
RUN python -m venv /opt/nightshift \
    && python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-uv.txt
RUN uv pip install --no-cache --compile-bytecode --require-hashes --python /opt/nightshift/bin/python \
        -r requirements-image.txt

# -- the jars that Spark needs for S3, of the versions that its own Hadoop was built with ------------------
FROM packages AS jars
# Ivy comes with Spark, and knows where Maven's central repository is. MAVEN_REPOSITORY names a mirror of it.
ARG MAVEN_REPOSITORY=
COPY include/nightshift/stack/jars.sha256 /build/
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /jars
RUN ivy=(java -cp "$(echo /opt/nightshift/lib/python3*/site-packages/pyspark/jars/ivy-*.jar)" org.apache.ivy.Main \
            -warn -cache /tmp/ivy -confs default -notransitive -types jar -retrieve '/jars/[artifact]-[revision].[ext]') \
    && sed -n 's/^# //p' /build/jars.sha256 | while IFS=: read -r organisation artifact revision; do \
         if [ -n "$MAVEN_REPOSITORY" ]; then \
           curl --fail --silent --show-error --location --remote-name \
             "$MAVEN_REPOSITORY/${organisation//.//}/$artifact/$revision/$artifact-$revision.jar"; \
         else \
           "${ivy[@]}" -dependency "$organisation" "$artifact" "$revision"; \
         fi; \
       done \
    && sha256sum --check --strict /build/jars.sha256 \
    && rm -rf /tmp/ivy

# -- our own code, which changes most ------------------------------------------------------------------------
FROM packages AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY include include
COPY plugins plugins
RUN uv build --wheel --no-build-isolation --python /opt/nightshift/bin/python --out-dir /wheel .

FROM system
# Group 0 owns what is written to, so that any user id (NIGHTSHIFT_UID) can run this.
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --no-create-home nightshift \
    && install --directory --mode 0775 /opt/airflow /opt/airflow/logs /opt/airflow/auth /scratch /spark-events /data \
    && install --mode 0664 /dev/null /opt/airflow/airflow.cfg
COPY --from=packages /opt/nightshift /opt/nightshift
COPY --from=jars /jars/*.jar /opt/nightshift/jars/
RUN ln -s /opt/nightshift/jars/*.jar "$(echo /opt/nightshift/lib/python3*/site-packages/pyspark/jars)/"
COPY --from=wheel /wheel /wheel
RUN /opt/nightshift/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps --compile \
        /wheel/*.whl
COPY plugins/nightshift_plugin.py plugins/.airflowignore /opt/airflow/plugins/
COPY dags /opt/airflow/dags
ENV AIRFLOW_HOME=/opt/airflow \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 50000
WORKDIR /opt/airflow
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "version"]
