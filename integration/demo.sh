#!/usr/bin/env bash
# The main job on a small model: serve it, try it without some layers, prune it.
#   demo.sh PARE GGUF
# Everything is kept below .cache/demo, away from the user's own models.
set -euo pipefail

pare=$(realpath "$1")
gguf=$(realpath "$2")
home=$(realpath .cache)/demo

rm -rf "$home"
mkdir -p "$home"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export HOME=$home OLLAMA_MODELS=$home/models OLLAMA_HOST=127.0.0.1:$port OLLAMA_NO_CLOUD=1

"$pare" serve >"$home/server.log" 2>&1 &
server=$!
stop() { kill "$server" 2>/dev/null && wait "$server" || true; }
trap stop EXIT
for _ in $(seq 100); do
	"$pare" list >/dev/null 2>&1 && break
	kill -0 "$server" 2>/dev/null || { echo "the server did not start:"; tail "$home/server.log"; exit 1; }
	sleep 0.2
done

echo "This takes about ten minutes on two cores, six of them for the repair."
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
run() { say "$@"; "$pare" "${@:2}"; }
ask() { # MODEL PROMPT: the API, and not pare run, for an answer that is the same each time
	request=$(printf '{"model":"%s","prompt":"%s","stream":false,"options":{"temperature":0,"num_predict":60}}' "$1" "$2")
	say "POST /api/generate $request"
	python3 -c 'import json, sys, urllib.request
reply = urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.argv[2].encode()))
print(json.load(reply)["response"].strip())' "http://$OLLAMA_HOST/api/generate" "$request"
}

question="Why is the sky blue? Answer in one sentence."
echo "FROM $gguf" >"$home/Modelfile"
run pare create smollm2 -f "$home/Modelfile"
ask smollm2 "$question"
run pare try smollm2 --drop 13-18 --temperature 0 --num-predict 60 "$question"
run pare prune smollm2 smollm2-small --drop 20% --repair-steps 40 -o "$home/report.html"

echo
echo "The report, with a heat map and answers side by side: $home/report.html"
echo "Both models are kept in $OLLAMA_MODELS. To go on with them:"
echo "  OLLAMA_MODELS=$OLLAMA_MODELS $pare serve &"
echo "  $pare run smollm2-small"
