# Completion of picto for fish. In ~/.config/fish/config.fish: picto completion fish | source

function __picto_complete
    set -l words (commandline -opc)
    set -lx _PICTO_COMPLETE fish
    set -lx _PICTO_WORD (commandline -ct)
    # the first line of the answer says of what kind it is, each other one is a candidate, a tab and its description
    set -l answer (command $words 2> /dev/null)
    switch "$answer[1]"
        case 'files*'
            __fish_complete_path (commandline -ct)
        case 'folders*'
            __fish_complete_directories (commandline -ct)
        case '*'
            printf '%s\n' $answer[2..-1]
    end
end

complete --command picto --no-files --arguments '(__picto_complete)'
