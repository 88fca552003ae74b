import type { Command } from 'commander';
import { Argument } from 'commander';

type Shell = 'bash' | 'zsh';

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('Print what completes toka in a shell')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh']))
    .addHelpText('after', '\nExamples:\n  source <(toka completion bash)\n  source <(toka completion zsh)')
    .action((shell: Shell) => void process.stdout.write(completion(program, shell)));
}

/** What may follow on which words, as a function of bash; zsh takes such functions too. Nothing of it asks a gateway. */
function completion(program: Command, shell: Shell): string {
  const steps = prefixes(program, []).map((words) => `    " ${words}") at=" ${words}" ;;`);
  const cases = wordsAfter(program, []).map(([words, offers]) => `    "${words}") offers="${offers.join(' ')}" ;;`);
  return `${shell === 'zsh' ? 'autoload -Uz bashcompinit && bashcompinit\n' : ''}_toka() {
  local at="" offers="" index
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "$at \${COMP_WORDS[index]}" in
${steps.join('\n')}
    esac
  done
  case "\${at# }" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$offers" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _toka toka
`;
}

/** Every command by the words that lead to it. */
const prefixes = (command: Command, before: readonly string[]): string[] =>
  command.commands.flatMap((each) => {
    const path = [...before, each.name()];
    return [path.join(' '), ...prefixes(each, path)];
  });

function wordsAfter(command: Command, path: readonly string[]): [string, string[]][] {
  const help = command.createHelp();
  const options = [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)];
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const words = [
    ...command.commands.map((each) => each.name()),
    ...choices,
    ...options.flatMap(({ long, short }) => long ?? short ?? []),
  ];
  return [[path.join(' '), words], ...command.commands.flatMap((each) => wordsAfter(each, [...path, each.name()]))];
}
