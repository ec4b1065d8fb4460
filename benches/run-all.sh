#!/usr/bin/env bash
# Installs what is missing and runs every benchmark; results go to target/bench/.
#   benches/run-all.sh          all of it, about half an hour
#   benches/run-all.sh --quick  the same in a few minutes, with more noise
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for package in haproxy redis-server valgrind; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$package" >/dev/null || missing+=("$package")
done
if ((${#missing[@]})); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

out=target/bench
mkdir -p "$out"
cargo build --release
petiole=target/release/petiole
quick=("$@")
workloads=economy,range,aggregate,update,ycsb-a,ycsb-b,ycsb-c,ycsb-d,ycsb-e,ycsb-f
targets=direct,petiole,cache-off,batch-off,rewrite-off,profile-off,retry-off

cargo bench --bench instructions | tee "$out/instructions.txt"
cargo bench --bench cache | tee "$out/cache.txt"
"$petiole" bench --goals "${quick[@]}" --save "$out/goals.json" --report "$out/goals.html" | tee "$out/goals.txt"
"$petiole" bench --workload "$workloads" --targets "$targets" "${quick[@]}" \
  --save "$out/workloads.json" --report "$out/workloads.html" | tee "$out/workloads.txt"
"$petiole" bench --workload insert,update --targets direct,petiole,batch-off --retryable-writes "${quick[@]}" \
  --save "$out/retryable.json" --report "$out/retryable.html" | tee "$out/retryable.txt"
