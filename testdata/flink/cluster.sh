#!/usr/bin/env bash
# A Flink cluster of separate JVMs, one job manager and some task managers, and Beam's job server, on one machine and for tests:
#
#   cluster.sh fetch          get the jars by Maven, once: 150 MB, half a minute
#   cluster.sh up [N]         start it with N task managers (2) of SLOTS slots (2), and say where it listens
#   cluster.sh env            the same, as lines that a shell evaluates
#   cluster.sh kill-tm I      kill -9 of a task manager, the I-th
#   cluster.sh start-tm I     start it again
#   cluster.sh status         task managers and slots
#   cluster.sh down
#   cluster.sh with CMD...    up, CMD, and down again however it ends; on a machine that lacks something it says so, and is done
#
# Wants JDK 17, Maven and curl. Everything lies in FLINK_LAB (out/flink); the logs are FLINK_LAB/run/*.log. FLINK_JARS names a folder
# of the jars that was fetched before.
#
# The library beam-runners-flink is taken rather than the job server of one jar, and the cluster has its jars in lib, parent-first.
# So no job carries jars along, and starts in 1 to 2 s rather than 30. What bin/taskmanager.sh works out is spelled out here, as
# there is no distribution of Flink on Maven.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
LAB=${FLINK_LAB:-$HERE/../../out/flink}
mkdir -p "$LAB" && LAB=$(cd "$LAB" && pwd)
JARS=${FLINK_JARS:-$LAB/jars}
RUN=$LAB/run
SLOTS=${SLOTS:-2}
OPENS=$(printf -- '--add-opens=java.base/%s=ALL-UNNAMED ' java.lang java.lang.reflect java.net java.io java.nio sun.nio.ch java.text java.time \
  java.util java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks)
JVM="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC $OPENS -Dorg.slf4j.simpleLogger.showDateTime=true
 -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS -Dorg.slf4j.simpleLogger.log.org.apache.pekko=warn"

need() {
  for p in java javac mvn curl; do
    command -v $p >/dev/null || { echo "cluster.sh: there is no $p here: a Flink cluster wants JDK 17, Maven and curl" >&2; return 1; }
  done
}

fetch() {
  if [ ! -d "$JARS" ]; then
    rm -rf "$JARS.part"
    mvn -q -B -f "$HERE/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$JARS.part"
    mv "$JARS.part" "$JARS"
  fi
  mkdir -p "$LAB/classes"
  [ "$LAB/classes/JobServer.class" -nt "$HERE/JobServer.java" ] || javac -cp "$JARS/*" -d "$LAB/classes" "$HERE/JobServer.java"
}

# free prints a port that nobody listens on.
free() {
  local p
  while :; do
    p=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/localhost/$p") 2>/dev/null || { echo $p; return; }
  done
}

# spawn NAME CMD... starts a process in a group of its own, so that Ctrl-C does not reach it before `down` does.
spawn() {
  local n=$1; shift
  mkdir -p "$RUN/$n.d/tmp"
  set -m
  (cd "$RUN/$n.d" && exec "$@" >>"$RUN/$n.log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-) &
  echo $! >"$RUN/$n.pid"
  disown
  set +m
}

pid() { cat "$RUN/$1.pid" 2>/dev/null || echo 0; }
alive() { local p; p=$(pid "$1"); [ "$p" != 0 ] && kill -0 "$p" 2>/dev/null; }

start_tm() {
  alive "tm$1" && { echo "cluster.sh: task manager $1 runs" >&2; return 1; }
  spawn "tm$1" java -Xms512m -Xmx512m -XX:MaxDirectMemorySize=320m -XX:MaxMetaspaceSize=256m $JVM -cp "$JARS/*" \
    org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir "$RUN/conf" \
    -D taskmanager.resource-id="tm$1" -D taskmanager.cpu.cores="$SLOTS" -D taskmanager.numberOfTaskSlots="$SLOTS" \
    -D taskmanager.memory.framework.heap.size=128m -D taskmanager.memory.task.heap.size=384m \
    -D taskmanager.memory.framework.off-heap.size=128m -D taskmanager.memory.task.off-heap.size=64m \
    -D taskmanager.memory.managed.size=128m -D taskmanager.memory.network.min=64m -D taskmanager.memory.network.max=64m \
    -D taskmanager.memory.jvm-metaspace.size=256m -D taskmanager.memory.jvm-overhead.min=192m -D taskmanager.memory.jvm-overhead.max=192m \
    -D io.tmp.dirs="$RUN/tm$1.d/tmp"
}

up() {
  local n=${1:-2} i rest=$(free) jobs=$(free)
  need; fetch; down
  rm -rf "$RUN"; mkdir -p "$RUN/conf"
  # Without a restart strategy Flink does not try again. The heartbeats are short so that tests need not wait for long.
  cat >"$RUN/conf/config.yaml" <<Y
jobmanager.rpc.address: localhost
jobmanager.rpc.port: $(free)
jobmanager.bind-host: localhost
jobmanager.memory.heap.size: 512m
taskmanager.bind-host: localhost
taskmanager.host: localhost
taskmanager.load-balance.mode: SLOTS
rest.address: localhost
rest.bind-address: localhost
rest.port: $rest
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 5
restart-strategy.fixed-delay.delay: 500 ms
heartbeat.interval: 1000
heartbeat.timeout: 5000
heartbeat.rpc-failure-threshold: 2
classloader.resolve-order: parent-first
Y
  cat >"$RUN/env" <<Y
FLINK_REST=localhost:$rest
BEAM_ENDPOINT=localhost:$jobs
Y
  spawn jm java -Xms512m -Xmx512m -XX:MaxMetaspaceSize=256m $JVM -cp "$JARS/*" \
    org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint --configDir "$RUN/conf" -D io.tmp.dirs="$RUN/jm.d/tmp"
  for i in $(seq "$n"); do start_tm "$i"; done
  spawn jobs java -Xmx768m $JVM -cp "$LAB/classes:$JARS/*" JobServer --flink-master="localhost:$rest" --flink-conf-dir="$RUN/conf" \
    --job-host=localhost --job-port="$jobs" --artifact-port=0 --expansion-port=-1 --artifacts-dir="$RUN/artifacts"
  for _ in $(seq 600); do
    if grep -q "JobService started" "$RUN/jobs.log" && curl -sf "localhost:$rest/overview" | grep -q "\"taskmanagers\":$n"; then
      cat "$RUN/env"
      return
    fi
    sleep 0.2
  done
  echo "cluster.sh: it does not come up: see $RUN/*.log" >&2
  return 1
}

down() {
  local f all=
  for f in "$RUN"/*.pid; do
    [ -f "$f" ] && all="$all $(cat "$f")" && rm -f "$f"
  done
  [ -z "$all" ] && return
  kill $all 2>/dev/null || true
  for _ in $(seq 20); do
    kill -0 $all 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 $all 2>/dev/null || true
}

case "${1:-}" in
  fetch) need; fetch ;;
  up) up "${2:-2}" ;;
  env) cat "$RUN/env" ;;
  kill-tm) kill -9 "$(pid "tm$2")"; rm "$RUN/tm$2.pid" ;;
  start-tm) start_tm "$2" ;;
  down) down ;;
  status)
    . "$RUN/env"
    curl -s "$FLINK_REST/taskmanagers" | tr '{' '\n' | grep -o '"id":"[^"]*"\|"slotsNumber":[0-9]*\|"freeSlots":[0-9]*' | paste -sd' ' ;;
  with)
    shift
    need || { echo "skipped: $*" >&2; exit 0; }
    trap down EXIT
    trap 'exit 130' INT TERM
    up
    set -a; . "$RUN/env"; set +a
    export FLINK_LAB=$LAB
    "$@" ;;
  *) sed -n '2,/^set /{/^#/p}' "$0" >&2; exit 2 ;;
esac
