# Completion of wiretape for fish: wiretape completion fish | source

function __wiretape_complete
    set -l args (commandline -opc)
    set -l cur (commandline -ct)
    set -l program $args[1]
    command -q $program; or set program wiretape
    set -l out ($program __complete $args[2..-1] "$cur" 2>/dev/null)
    test (count $out) -gt 0; or return
    set -l directive (string sub -s 2 -- $out[-1])
    set -l before ''
    string match -qr -- '^-.*=' $cur; and set before (string replace -r -- '=.*' '=' $cur)
    for line in $out[1..-2]
        printf '%s%s\n' $before $line
    end
    set -l value (string replace -r -- '^-[^=]*=' '' $cur)
    if test $directive = 16
        for line in (__fish_complete_directories $value '')
            printf '%s%s\n' $before $line
        end
    else if test $directive = 0
        for line in (__fish_complete_path $value '')
            printf '%s%s\n' $before $line
        end
    end
end

complete -c wiretape -f -k -a '(__wiretape_complete)'
