#compdef wiretape
# Completion of wiretape for zsh: source <(wiretape completion zsh), or as _wiretape in a
# folder of fpath.

_wiretape() {
	local -a args out candidates options
	local line value about program=${(Q)words[1]}
	args=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
	(( $+commands[$program] )) || [[ -x $program ]] || program=wiretape
	out=("${(@f)$("$program" __complete "${args[@]}" 2>/dev/null)}")
	[[ ${out[-1]} == :<-> ]] || return 1
	local -i directive=${out[-1]#:}
	out[-1]=()
	[[ $PREFIX != -*=* ]] || compset -P '*='
	for line in "${out[@]}"; do
		[[ -n $line ]] || continue
		value=${line%%$'\t'*}
		about=${line#*$'\t'}
		value=${value//:/\\:}
		[[ $line != *$'\t'* ]] || value+=:$about
		candidates+=("$value")
	done
	(( directive & 2 )) && options+=(-S '')
	if (( $#candidates )); then
		_describe -V 'wiretape' candidates "${options[@]}"
	elif (( directive & 16 )); then
		_files -/
	elif ! (( directive & 4 )); then
		_files
	fi
}

if [[ ${funcstack[1]} == _wiretape ]]; then
	_wiretape "$@"
else
	compdef _wiretape wiretape
fi
