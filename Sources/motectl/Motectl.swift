// The operator's tool. Each subcommand has a file of its own.

import ArgumentParser

@main
struct Motectl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "motectl", abstract: "A local Platform Service, and the operator's hands.",
    subcommands: [PlatformCommand.self])
}
