#!/usr/bin/env bash
# PyMongo's own test suite, run twice: directly and through the proxy. Then says which tests
# pass directly and fail through the proxy, and exits with status 1 if there are any.
#
#   driver_suite.sh DIRECT PROXY [PYTEST_ARGUMENT]...
#
# DIRECT   host:port of a mongod, a primary without access control, started with
#          --setParameter enableTestCommands=1. The tests drop databases and set fail points:
#          give it nothing that you want to keep.
# PROXY    host:port of a proxy whose upstream is DIRECT. With posture = "replica-set" both runs
#          see a replica set and the same tests; as a mongos, other tests are skipped.
#
# Environment:
#   SUITE    quick (about 2 minutes a run), core (the default, about 8), full (adds monitoring,
#            pools, read preferences and more) or async (core for the asyncio API)
#   PYTHON   the interpreter (python3)
#   CACHE    where PyMongo and its tests are kept (~/.cache/petiole/driver-suite)
#   OUT      where the reports go (./driver-suite-results)
#   REUSE    if set, compare with the direct run whose report is in OUT already
set -euo pipefail

PYMONGO=4.20.0
PYTEST='pytest>=8.2,<10'

usage() {
    sed -n '2,/^set/p' "$0" | sed -e '/^set/d' -e 's/^# \{0,1\}//' >&2
    exit 64
}
[ $# -ge 2 ] || usage
direct=$1 proxy=$2
shift 2

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/petiole/driver-suite}/$PYMONGO
out=${OUT:-$PWD/driver-suite-results}
mkdir -p "$cache" "$out"
out=$(cd "$out" && pwd)

# The released driver, and the tests that belong to it from its source distribution.
if [ ! -e "$cache/ready" ]; then
    rm -rf "$cache/site" "$cache/sdist" "$cache/suite"
    "$python" -m pip install --quiet --target "$cache/site" \
        "pymongo==$PYMONGO" "$PYTEST" 'pytest-asyncio>=0.24,<2' 'pytest-timeout>=2.3,<3'
    "$python" -m pip download --quiet --no-binary pymongo --no-deps --no-build-isolation \
        --dest "$cache/sdist" "pymongo==$PYMONGO" 2>/dev/null ||
        "$python" -m pip download --quiet --no-binary pymongo --no-deps \
            --dest "$cache/sdist" "pymongo==$PYMONGO"
    mkdir "$cache/suite"
    # Only the tests and their settings: the driver itself comes from the wheel above.
    tar -xzf "$cache/sdist/pymongo-$PYMONGO.tar.gz" -C "$cache/suite" --strip-components=1 \
        "pymongo-$PYMONGO/test" "pymongo-$PYMONGO/pyproject.toml"
    touch "$cache/ready"
fi

quick='collection cursor bulk crud_unified session sessions_unified transactions gridfs'
core="$quick database transactions_unified retryable_reads retryable_reads_unified
    retryable_writes retryable_writes_unified change_stream gridfs_bucket gridfs_spec grid_file
    client run_command collection_management index_management causal_consistency comment
    collation client_bulk_write"
case ${SUITE:-core} in
    quick) dir=test files=$quick ;;
    core) dir=test files=$core ;;
    async) dir=test/asynchronous files=$core ;;
    full)
        dir=test
        files="$core command_monitoring monitoring read_concern read_write_concern_spec
            read_preferences custom_types raw_bson examples versioned_api_integration pooling
            connection_monitoring heartbeat_monitoring streaming_protocol hello_latched threads
            csot dbref decimal128 json_util_integration operations results server_selection
            client_context client_metadata crud_v1"
        ;;
    *) usage ;;
esac
paths=()
for file in $files; do
    [ ! -e "$cache/suite/$dir/test_$file.py" ] || paths+=("$dir/test_$file.py")
done

# Left out, because they cannot tell anything about a proxy and take long or need more than this
# machine has: what the client says about its own platform; look-ups of SRV records; three tests
# that wait for a secondary; one that hangs on mongod 6.0 itself.
left_out='not test_handshake_ and not metadata and not srv_ and not _srv and not DNS
    and not test_service_name_from_kwargs and not test_sigstop_sigcont
    and not test_run_command_fails_with_explicit_secondary_read_preference
    and not test_run_command_fails_with_secondary_read_preference_from_transaction_options
    and not test_secondary_readPreference and not test_command_bulkWrite'

run() { # NAME ADDRESS [PYTEST_ARGUMENT]...
    local name=$1 address=$2 started=$SECONDS
    shift 2
    PYTHONPATH="$cache/site" "$python" "$here/driver_suite_reset.py" "$direct"
    echo "== $name: $address"
    # Status 1 says that tests failed: the comparison judges that. Anything else is an error here.
    (
        cd "$cache/suite"
        DB_IP=${address%:*} DB_PORT=${address##*:} PYTHONPATH="$cache/site:$here" \
            "$python" -m pytest -o addopts= -p no:cacheprovider -p driver_suite_plugin \
            -q --timeout=60 --tb=short -m 'default or default_async' -k "${left_out//$'\n'/ }" \
            --junitxml="$out/$name.xml" "${paths[@]}" "$@"
    ) >"$out/$name.log" 2>&1 || [ $? -eq 1 ] || {
        tail -40 "$out/$name.log" >&2
        exit 70
    }
    tail -1 "$out/$name.log"
    echo "   $((SECONDS - started)) s, log in $out/$name.log"
}

[ -n "${REUSE:-}" ] && [ -e "$out/direct.xml" ] || run direct "$direct" "$@"
run proxy "$proxy" "$@"
"$python" "$here/compare_junit.py" "$out/direct.xml" "$out/proxy.xml"
