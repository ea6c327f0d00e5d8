// The operator's tool. Each subcommand has a file of its own.

import ArgumentParser

@main
struct Motectl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "motectl", abstract: "A local Platform Service, and the operator's hands.",
    discussion: """
      'motectl COMMAND --help' tells more, with examples; 'motectl help options' which platform is meant, and as whom. \
      Completions for a shell: motectl --generate-completion-script bash|zsh|fish

      Examples:
        motectl platform --lan
        motectl device add edge e7-0042 --config mote.conf
        motectl events --type edge
      """,
    version: "motectl \(Motectl.version)",
    subcommands: [
      PlatformCommand.self, KeyCommand.self, DevicesCommand.self, DeviceCommand.self, EventsCommand.self,
      CommandCommand.self, RebootCommand.self, FactoryResetCommand.self, FirmwareCommand.self, MonitorCommand.self,
      LogsCommand.self, OptionsTopic.self,
    ])

  /// The agent's too: CLinux/include/mote_build.h.
  static let version = "0.1.0"

  static func main() async {
    let words = Array(CommandLine.arguments.dropFirst())
    if let complaint = misspelledCommand(words, of: Motectl.self) {
      complain(complaint)
      exit(withError: ExitCode(64))
    }
    await main(words)
  }
}

/// What the commands have in common, in one place.
struct OptionsTopic: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "options", abstract: "Shows the options that all commands for operators have.",
    discussion: """
      \(ConnectionOptions.explanation)

      \(CommandStatus.explanation)

      Examples:
        motectl devices --profile platform/api-key
        motectl events --server mqtts://iot.example --key a-ab12cd-x1y2z3
      """)

  /// What the other commands' help says instead.
  static let pointer = "Which platform, as whom, and exit statuses: 'motectl help options'."

  @OptionGroup(title: "Platform") var connection: ConnectionOptions

  func run() { print(OptionsTopic.helpMessage()) }
}
