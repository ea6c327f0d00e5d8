// `motectl device`: one device of the registry.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService

struct DeviceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "device", abstract: "Adds, removes or shows a device, or gives it a new token.",
    discussion: """
      Examples:
        motectl device add edge e7-0042 --create-type --save-token e7-0042.token
        motectl device show edge e7-0042
        motectl device token edge e7-0042 --save-token e7-0042.token
        motectl device remove edge e7-0042
      """,
    subcommands: [Add.self, Token.self, Remove.self, Show.self])
}

extension DeviceCommand {
  struct Add: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Registers a device and gives it a token.",
      discussion: """
        The token is shown this once: the platform keeps only a hash of it. With --save-token it goes to a file \
        instead, which only its owner can read. With --device-token-file the device gets the token of that file.

        With --config it goes to a whole configuration for the device's agent, ready to be brought to the board; the \
        device type is made if there is none.

        Examples:
          motectl device add edge e7-0042 --config mote.conf
          motectl device add edge e7-0042 --create-type --save-token e7-0042.token
          motectl device add edge e7-0043 --info serialNumber=S-0043 --info hwVersion=B

        \(OptionsTopic.pointer)
        """)

    @OptionGroup var device: DeviceArguments
    @Flag(help: "Make the device type if there is none.") var createType = false
    @Flag(help: "With --create-type: its devices are gateways.") var gateway = false
    @Option(
      help: ArgumentHelp(
        "What the device is, one of the members of deviceInfo; may be repeated.", valueName: "key=value"))
    var info: [String] = []
    @OptionGroup var tokens: TokenOptions
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    func validate() throws {
      let known = DeviceInfo.names.map(\.key)
      for pair in info {
        let name = pair.split(separator: "=", omittingEmptySubsequences: false).first.map(String.init) ?? ""
        guard pair.contains("="), known.contains(name) else {
          throw ValidationError(
            "--info wants KEY=VALUE with KEY one of \(known.joined(separator: ", ")), not '\(pair)'.")
        }
      }
    }

    func run() async throws {
      try await operate {
        let settings = try connection.settings()
        let client = try RESTClient(settings)
        let wanted = try tokens.deviceTokenFile.map(readToken)
        var body: [JSONValue.Member] = []
        if let wanted { body.append(.init("authToken", .string(wanted))) }
        if !info.isEmpty { body.append(.init("deviceInfo", .object(info.map(member)))) }
        // Before anything is registered: without a place for it the token would be lost.
        if configuration.config != nil {
          _ = try DeviceConfiguration(device.key, token: wanted ?? "", configuration, settings)
        }
        let files = try [tokens.saveToken, configuration.config].map { try $0.map(SecretFile.init) }
        do {
          if createType || configuration.config != nil { try await client.addType(device.type, isGateway: gateway) }
          let answer = try await client.addDevice(device.key, body)
          let token = answer["authToken"]?.string ?? wanted
          if let token { try files[0]?.write(token + "\n") }
          var made: DeviceConfiguration?
          if configuration.config != nil, let token {
            let whole = try DeviceConfiguration(device.key, token: token, configuration, settings)
            try files[1]?.write(whole.text)
            made = whole
          }
          try show(answer, token, made)
        } catch {
          for file in files { file?.removeIfEmpty() }
          throw error
        }
      }
    }

    private func member(_ pair: String) -> JSONValue.Member {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return .init(String(parts[0]), .string(String(parts[1])))
    }

    private func show(_ answer: JSONValue, _ token: String?, _ made: DeviceConfiguration?) throws {
      let isKept = tokens.saveToken != nil || configuration.config != nil
      if output.json {
        guard let members = answer.members else { return }
        return try emit(.object(members.filter { !isKept || $0.name != "authToken" }))
      }
      try emit("registered \(device.type) \(device.id)")
      if let token, !isKept, tokens.deviceTokenFile == nil { try emit("token \(printable(token))") }
      if let made, let file = configuration.config { try emit(made.explanation(file)) }
    }
  }

  struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Gives a device a new token in place of its old one.",
      discussion: """
        For a device whose token is lost, or known to somebody else: from now on it connects with the new one only, \
        and its connection is closed. The token is shown this once, or goes to a file as 'device add' has it.

        Examples:
          motectl device token edge e7-0042
          motectl device token edge e7-0042 --save-token e7-0042.token

        \(OptionsTopic.pointer)
        """)

    @OptionGroup var device: DeviceArguments
    @OptionGroup var tokens: TokenOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    func run() async throws {
      try await operate {
        let client = try RESTClient(try connection.settings())
        let wanted = try tokens.deviceTokenFile.map { try readToken($0) }
        // Before the old token goes: without a place for it the new one would be lost.
        let file = try tokens.saveToken.map(SecretFile.init)
        do {
          let token = try await client.setToken(device.key, wanted)
          if let file { try file.write(token + "\n") }
          try show(token)
        } catch {
          file?.removeIfEmpty()
          throw error
        }
      }
    }

    private func show(_ token: String) throws {
      let isShown = tokens.saveToken == nil && tokens.deviceTokenFile == nil
      if output.json {
        return try emit(
          .members([
            "typeId": .string(device.type), "deviceId": .string(device.id),
            "authToken": isShown ? .string(token) : nil,
          ]))
      }
      try emit("new token for \(device.type) \(device.id)")
      if isShown { try emit("token \(printable(token))") }
    }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Removes a device and all that belongs to it.",
      discussion: """
        Example:
          motectl device remove edge e7-0042

        \(OptionsTopic.pointer)
        """)

    @OptionGroup var device: DeviceArguments
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    func run() async throws {
      try confirmation.confirm("Remove \(device.type) \(device.id) and all that belongs to it?")
      try await operate {
        try await RESTClient(try connection.settings()).removeDevice(device.key)
        if output.json {
          try emit(
            .members([
              "typeId": .string(device.type), "deviceId": .string(device.id), "removed": .boolean(true),
            ]))
        } else {
          try emit("removed \(device.type) \(device.id)")
        }
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Shows what the platform knows about a device.",
      discussion: """
        Examples:
          motectl device show edge e7-0042
          motectl device show edge e7-0042 --json | jq .mgmt.dormant

        \(OptionsTopic.pointer)
        """)

    @OptionGroup var device: DeviceArguments
    @OptionGroup var output: OutputOptions
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    func run() async throws {
      try await operate {
        let client = try RESTClient(try connection.settings())
        var members = try await client.device(device.key).members ?? []
        for name in ["location", "mgmt"] where !members.contains(where: { $0.name == name }) {
          if let detail = try await client.detail(device.key, name) { members.append(.init(name, detail)) }
        }
        if output.json { return try emit(.object(members)) }
        let rows = leaves(.object(members), path: "")
        let width = rows.map { columns($0.0) }.max() ?? 0
        for (path, value) in rows { try emit("\(fitted(path, to: width))  \(value)") }
      }
    }
  }
}

/// The values of a JSON document, each with its path.
func leaves(_ value: JSONValue, path: String) -> [(String, String)] {
  func below(_ name: String) -> String { path.isEmpty ? name : path + "." + name }
  switch value {
  case .object(let members): return members.flatMap { leaves($0.value, path: below(printable($0.name))) }
  case .array(let values): return values.enumerated().flatMap { leaves($0.element, path: below("\($0.offset)")) }
  case .string(let text): return [(path, printable(text))]
  case .null: return []
  case .boolean, .number: return [(path, safeJSON(value))]
  }
}

/// The token in a file of its own.
private func readToken(_ file: String) throws -> String {
  var token = try readSecret(file)
  if token.hasSuffix("\n") { token.removeLast() }
  return token
}

/// A new file that only its owner can read.
struct SecretFile {
  private let path: String
  private let handle: FileHandle

  init(_ path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw ClientError(.configuration, path, String(cString: strerror(errno))) }
    self.path = path
    handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }

  func write(_ text: String) throws {
    do {
      try handle.write(contentsOf: Data(text.utf8))
    } catch {
      throw ClientError(.configuration, path, "cannot be written")
    }
  }

  func removeIfEmpty() {
    if (try? handle.offset()) == 0 { unlink(path) }
  }
}
