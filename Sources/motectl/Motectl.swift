// The operator's tool. Each subcommand has a file of its own.

import ArgumentParser

@main
struct Motectl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "motectl", abstract: "A local Platform Service, and the operator's hands.",
    discussion: """
      'motectl COMMAND --help' tells more, with examples. Completions for a shell: motectl \
      --generate-completion-script bash|zsh|fish

      Examples:
        motectl platform --data platform
        motectl device add edge e7-0042 --create-type --save-token e7-0042.token
        motectl events --type edge
      """,
    subcommands: [
      PlatformCommand.self, KeyCommand.self, DevicesCommand.self, DeviceCommand.self, EventsCommand.self,
      CommandCommand.self,
      RebootCommand.self, FactoryResetCommand.self, FirmwareCommand.self, MonitorCommand.self, LogsCommand.self,
    ])
}
