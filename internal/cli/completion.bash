# Two functions of the bash-completion package, for shells without it.
if ! declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
    # Sets cur, prev, words and cword. Bash splits words at characters such as = and :,
    # here they are whole.
    _get_comp_words_by_ref() {
        local i line="$COMP_LINE" rest
        words=()
        cword=0
        for i in "${!COMP_WORDS[@]}"; do
            rest="${line#"${line%%[![:space:]]*}"}"
            if [[ $i -eq 0 || "$rest" != "$line" ]]; then
                words+=("${COMP_WORDS[i]}")
            else
                words[${#words[@]}-1]+="${COMP_WORDS[i]}"
            fi
            line="${rest#"${COMP_WORDS[i]}"}"
            if [[ $i -eq $COMP_CWORD ]]; then
                cword=$((${#words[@]} - 1))
            fi
        done
        cur="${words[cword]}"
        prev=""
        if [[ $cword -gt 0 ]]; then
            prev="${words[cword-1]}"
        fi
    }
fi
if ! declare -F _filedir >/dev/null 2>&1; then
    # Offers files, or directories only; an extension is not looked at.
    _filedir() {
        local IFS=$'\n' what=-f
        if [[ "$1" == -d ]]; then
            what=-d
        fi
        COMPREPLY+=($(compgen "$what" -- "$cur"))
        compopt -o filenames 2>/dev/null
    }
fi

