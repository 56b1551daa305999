#!/bin/sh
# Installs a release of wiretape; see usage below.
set -eu

usage() {
	cat <<'TEXT'
usage: install.sh [--version X.Y.Z] [--to FOLDER]

Fetches a release of wiretape for this machine, checks it against the release's checksums,
and puts the program into FOLDER: by default /usr/local/bin where that can be written, else
~/.local/bin. Without --version it is the newest.

WIRETAPE_RELEASES is where releases are, if not on GitHub: a URL below which they stand as
download/vX.Y.Z/ and latest/download/.
TEXT
}

die() {
	echo "install.sh: $1" >&2
	echo "  next: $2" >&2
	exit "${3:-1}"
}

version='' to=''
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit
		;;
	--version | --to)
		[ $# -gt 1 ] || die "$1 needs a value" "install.sh --help shows how" 2
		case $1 in
		--version) version=${2#v} ;;
		--to) to=$2 ;;
		esac
		shift 2
		;;
	*) die "there is no flag $1" "install.sh --help shows the flags" 2 ;;
	esac
done

case $(uname -s) in
Linux) os=linux ;;
Darwin) os=darwin ;;
*) die "there is no program for $(uname -s) here" "take the archive for Windows from the release's page" ;;
esac
case $(uname -m) in
x86_64 | amd64) arch=amd64 ;;
aarch64 | arm64) arch=arm64 ;;
*) die "there is no program for $(uname -m)" "build it from the sources, with make build" ;;
esac

from=${WIRETAPE_RELEASES:-https://github.com/wiretape/wiretape/releases}
if [ -n "$version" ]; then
	from=$from/download/v$version
else
	from=$from/latest/download
fi

fetch() { # FILE: prints it
	if command -v curl >/dev/null; then
		curl --fail --silent --show-error --location "$from/$1"
	elif command -v wget >/dev/null; then
		wget --quiet --output-document=- "$from/$1"
	else
		die "neither curl nor wget is there" "install one of them"
	fi
}

sum() { # of standard input
	if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch SHA256SUMS >"$work/sums" || die "$from/SHA256SUMS can't be fetched" "check the version, and that the network is there"
line=$(grep "_${os}_$arch.tar.gz\$" "$work/sums") || die "the release has no archive for $os on $arch" "choose another with --version"
want=${line%% *} archive=${line##* }
fetch "$archive" >"$work/archive" || die "$from/$archive can't be fetched" "try again"
[ "$(sum <"$work/archive")" = "$want" ] || die "$archive is not what SHA256SUMS says" "try again; if it stays so, report it as SECURITY.md says"
tar -C "$work" -xzf "$work/archive"

if [ -z "$to" ]; then
	to=/usr/local/bin
	[ -w "$to" ] || to=$HOME/.local/bin
fi
mkdir -p "$to" || die "the folder $to can't be made" "choose another one with --to"
[ -w "$to" ] || die "the folder $to can't be written" "choose another one with --to, or use sudo"
# In one step, so that a program that runs is never half of one.
cp "$work/${archive%.tar.gz}/wiretape" "$to/.wiretape.new"
chmod 755 "$to/.wiretape.new"
mv -f "$to/.wiretape.new" "$to/wiretape"

echo "installed $("$to/wiretape" --version) as $to/wiretape"
case :$PATH: in
*":$to:"*) ;;
*) echo "  put $to on your PATH" ;;
esac
echo "  next: wiretape doctor"
echo "        wiretape plugin install    # for docker wiretape"
