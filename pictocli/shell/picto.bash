# Completion of picto for bash. In ~/.bashrc: eval "$(picto completion bash)"

_picto_complete() {
    local kind='' line
    COMPREPLY=()
    # the first line of the answer says of what kind it is, each other one is a candidate
    while IFS= read -r line; do
        if [[ -z $kind ]]; then kind=$line; else COMPREPLY+=("$line"); fi
    done < <(_PICTO_COMPLETE=bash command "$1" "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2> /dev/null)
    case $kind in
        paths*) compopt -o filenames 2> /dev/null ;; # readline quotes them, and adds a slash to folders
        files*) compopt -o default 2> /dev/null ;;
        folders*) compopt -o dirnames 2> /dev/null ;;
    esac
    if [[ $kind == *+ ]]; then compopt -o nospace 2> /dev/null; fi
}

complete -o nosort -F _picto_complete picto 2> /dev/null || complete -F _picto_complete picto
