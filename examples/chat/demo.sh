#!/usr/bin/env bash
# Records the example once, takes its outside world away, and tests it offline.
# Usage: demo.sh [path to wiretape]
set -euo pipefail
cd "$(dirname "$0")"
wiretape=$(realpath "${1:-../../bin/wiretape}")
build=build
network=wiretape-example-outside
outside=wiretape-example-outside

say() {
	if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi
}
cleanup() {
	docker rm --force "$outside" >/dev/null 2>&1 || true
	docker network rm "$network" >/dev/null 2>&1 || true
}
trap cleanup EXIT

say "1. Build the example: a chat app, its store, and a stand-in for the outside world"
mkdir -p "$build"
arch=$(docker version --format '{{.Server.Arch}}')
for program in app store outside; do
	CGO_ENABLED=0 GOOS=linux GOARCH="$arch" go build -trimpath -ldflags='-s -w' -o "$build/$program" "./$program"
done
go build -o "$build/client" ./client
[ -f "$build/ca.pem" ] || go run ./outside certs "$build"
# An engine's client without buildx has only the classic builder.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
for image in app store outside; do
	name=$image
	[ "$image" = app ] && name=chat
	docker build --quiet --network none --tag "wiretape-example/$name" --file "Dockerfile.$image" "$build" 2>/dev/null
done

say "2. Start the outside world: api.openai.com and api.anthropic.com on a network of their own"
cleanup
docker network create --internal "$network" >/dev/null
docker run --detach --name "$outside" --network "$network" \
	--network-alias api.openai.com --network-alias api.anthropic.com wiretape-example/outside >/dev/null

say "3. wiretape compose record -- ./ask.sh"
rm -rf tapes/default
"$wiretape" compose record -- ./ask.sh build/recorded.txt

say "4. The tape"
"$wiretape" tape ls tapes/default
"$wiretape" tape verify tapes/default

say "5. Take the outside world away"
docker rm --force "$outside" >/dev/null
echo "api.openai.com and api.anthropic.com are gone"

say "6. wiretape compose test: what was asked then is asked again, and the answers are compared"
"$wiretape" compose test

say "7. wiretape compose test -- ./ask.sh"
"$wiretape" compose test -- ./ask.sh build/replayed.txt

say "What the user saw: when each piece of the answer came, recorded and offline"
paste build/recorded.txt build/replayed.txt | awk -F'\t' '{
	split($1, r, " "); split($2, p, " ")
	text = $1; sub(/^ *[0-9.]+ ms  /, "", text)
	printf "%9.1f ms %9.1f ms   %s\n", r[1], p[1], text
}'
