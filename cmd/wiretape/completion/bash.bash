# Completion of wiretape for bash: source <(wiretape completion bash)

_wiretape() {
	local rest=${COMP_LINE:0:COMP_POINT} program=${COMP_WORDS[0]} word i args=() line out=() directive=4
	# Bash breaks words at : and =, and wiretape's words have them: what has no space
	# between belongs together.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $i -eq 0 || $rest == [[:space:]]* ]]; then
			rest=${rest#"${rest%%[![:space:]]*}"}
			args+=("")
		fi
		[[ $i -lt $COMP_CWORD ]] || word=$rest
		rest=${rest#"$word"}
		word=${word//\\/}
		word=${word//\"/}
		args[${#args[@]} - 1]+=${word//\'/}
	done
	local cur=${args[${#args[@]} - 1]}
	command -v "$program" >/dev/null || program=wiretape
	while IFS= read -r line; do
		out+=("$line")
	done < <("$program" __completeNoDesc "${args[@]:1}" 2>/dev/null)
	COMPREPLY=()
	[[ ${#out[@]} -gt 0 ]] || return 0
	directive=${out[${#out[@]} - 1]#:}
	unset "out[${#out[@]}-1]"

	# Only what stands behind the last : or = is replaced.
	local value=$cur
	[[ $cur != -*=* ]] || value=${cur#*=}
	local kept=
	[[ $value != *:* || $COMP_WORDBREAKS != *:* ]] || kept=${value%"${value##*:}"}
	for line in "${out[@]}"; do
		line=$(printf '%q' "${line#"$kept"}")
		COMPREPLY+=("$line")
	done
	if ((directive & 16)); then
		while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$value")
		compopt -o filenames 2>/dev/null
	elif ! ((directive & 4)); then
		while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$value")
		compopt -o filenames 2>/dev/null
	fi
	if ((directive & 2)); then
		compopt -o nospace 2>/dev/null
	fi
}

complete -F _wiretape wiretape
