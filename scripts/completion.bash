# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completion of the command pyarena for bash: verbs, their options, processes and files.
# The list of options is written by scripts/generate-docs.

declare -A _pyarena_options=(
    # verbs
    [run]='--keep-free --lib --map --report --scope --stats --verbose --help'
    [stats]='--all --json --output --prometheus --tree --help'
    [doctor]='--lib --help'
    [compare]='--csv --html --idle --json --lib --load --ready-url --runs --with --help'
    [top]='--interval --json --once --tree --help'
    [map]='--html --png --rows --save --svg --help'
    [pins]='--filled --json --pools --help'
    [trim]='--json --timeout --tree --help'
    # end verbs
)

_pyarena() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} i
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "${!_pyarena_options[*]} help --help --version" -- "$word")
        return
    fi
    if [ "$verb" = help ]; then
        mapfile -t COMPREPLY < <(compgen -W "${!_pyarena_options[*]}" -- "$word")
        return
    fi
    # Behind -- stands a command with words of its own.
    for ((i = 2; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]}" = -- ]; then
            if declare -F _command_offset >/dev/null; then
                _command_offset $((i + 1))
            else
                mapfile -t COMPREPLY < <(compgen -c -f -- "$word")
            fi
            return
        fi
    done
    case $word in
    -*)
        mapfile -t COMPREPLY < <(compgen -W "${_pyarena_options[$verb]-} --" -- "$word")
        return
        ;;
    esac
    case $before in
    --scope) mapfile -t COMPREPLY < <(compgen -W 'all python' -- "$word") ;;
    --keep-free) mapfile -t COMPREPLY < <(compgen -W 'auto 0 64M 20%' -- "$word") ;;
    --lib | --output | --json | --csv | --html | --svg | --png | --save | --report | --map) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *)
        case $verb in
        run | compare) mapfile -t COMPREPLY < <(compgen -W '--' -- "$word") ;;
        stats | map) mapfile -t COMPREPLY < <(compgen -W "$(_pyarena_processes)" -- "$word"; compgen -f -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$(_pyarena_processes)" -- "$word") ;;
        esac
        ;;
    esac
}

# The processes that have the library, as far as one may see.
_pyarena_processes() {
    grep -l -s -F libpyarena /proc/[0-9]*/maps | cut -d / -f 3
}

complete -F _pyarena pyarena
