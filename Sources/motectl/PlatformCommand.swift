// `motectl platform`: the local Platform Service.

import ArgumentParser
import PlatformHTTP
import PlatformServer

struct PlatformCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "platform", abstract: "Runs a Platform Service on this machine.")

  func run() async throws {}
}
