#!/bin/sh
# What a user does: one question to each provider. The answers, with times, go to $1.
set -eu
cd "$(dirname "$0")"
: >"$1"
for provider in openai anthropic; do
	build/client -provider "$provider" "What does $provider stream?" | tee -a "$1"
done
