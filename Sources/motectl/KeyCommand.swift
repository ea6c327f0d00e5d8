// `motectl key`: API keys of the platform.

import ArgumentParser
import PlatformClient
import PlatformProtocol
import PlatformService

struct KeyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key", abstract: "Makes, lists and takes back API keys.",
    discussion: """
      A key has a role: 'read' looks at everything, 'operate' also sends commands and manages devices, 'administer' \
      also registers devices and makes keys. What is taken back, or gets a new token, loses its connections and \
      streams at once.

      Examples:
        motectl key add --role read --comment dashboard --expires 90 --save-profile ~/.config/motectl/dashboard
        motectl key list
        motectl key rotate a-local0-x1y2z3 --save-profile new-profile
        motectl key remove a-local0-x1y2z3
      """,
    subcommands: [Add.self, List.self, Rotate.self, Remove.self])
}

extension KeyRole: ExpressibleByArgument {}

/// Where a new token goes.
struct ProfileOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Write key and token to this new file, a profile that only its owner can read, instead of showing the token.",
      valueName: "file"), completion: .file())
  var saveProfile: String?

  /// Does what gives a key its token, and shows or saves that. The file is made first: without a place for it the token
  /// would be lost.
  func keep(_ json: Bool, _ make: () async throws -> JSONValue) async throws {
    let file = try saveProfile.map(SecretFile.init)
    do {
      let answer = try await make()
      guard let key = answer["key"]?.string, let token = answer["token"]?.string else { return }
      if let file { try file.write("auth-key = \(key)\nauth-token = \(token)\n") }
      if json {
        return try emit(.object((answer.members ?? []).filter { saveProfile == nil || $0.name != "token" }))
      }
      try emit("key \(printable(key))")
      if saveProfile == nil { try emit("token \(printable(token))") }
    } catch {
      file?.removeIfEmpty()
      throw error
    }
  }
}

extension KeyCommand {
  struct Add: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes an API key.",
      discussion: """
        The token is shown this once: the platform keeps only a hash of it.

        Example:
          motectl key add --role operate --comment 'night shift' --expires 30 --save-profile night.profile

        \(OptionsTopic.pointer)
        """)

    @Option(help: "What the key may do: read, operate or administer.") var role = KeyRole.read
    @Option(help: "What the key is for, for people.") var comment = ""
    @Option(help: ArgumentHelp("After how many days the key ends; never without this.", valueName: "days"))
    var expires: Int?
    @OptionGroup var profile: ProfileOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    func validate() throws {
      if let expires, !(1...36_500).contains(expires) { throw ValidationError("--expires wants 1 to 36500 days.") }
    }

    func run() async throws {
      try await operate {
        let client = try RESTClient(try connection.settings())
        try await profile.keep(output.json) {
          try await client.addAPIKey(role: role.rawValue, comment: comment, expiresInDays: expires)
        }
      }
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists the API keys.",
      discussion: """
        Example:
          motectl key list --json | jq -r .key

        \(OptionsTopic.pointer)
        """)

    @OptionGroup var output: OutputOptions
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    func run() async throws {
      try await operate {
        let keys = try await RESTClient(try connection.settings()).apiKeys()
        if output.json {
          for key in keys { try emit(key) }
          return
        }
        let rows = keys.map { key in
          ["key", "role", "created", "expires", "comment"].map { printable(key[$0]?.string ?? "-") }
        }
        let head = [
          TableColumn("KEY"), TableColumn("ROLE"), TableColumn("CREATED", rank: 3, widthMin: 10),
          TableColumn("EXPIRES", rank: 1, widthMin: 10), TableColumn("COMMENT", rank: 2),
        ]
        let lines = table(head, rows, width: isTerminal() ? terminalSize().width : nil)
        for line in lines { try emit(line) }
      }
    }
  }

  struct Rotate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Gives an API key a new token in place of its old one.",
      discussion: """
        Example:
          motectl key rotate a-local0-x1y2z3 --save-profile new.profile

        \(OptionsTopic.pointer)
        """)

    @Argument(help: "The key.") var key: String
    @OptionGroup var profile: ProfileOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    func run() async throws {
      try await operate {
        let client = try RESTClient(try connection.settings())
        try await profile.keep(output.json) { try await client.rotateAPIKey(key) }
      }
    }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Takes an API key back.",
      discussion: """
        Example:
          motectl key remove a-local0-x1y2z3

        \(OptionsTopic.pointer)
        """)

    @Argument(help: "The key.") var key: String
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    func run() async throws {
      try await operate {
        try await RESTClient(try connection.settings()).removeAPIKey(key)
        try emit("removed \(key)")
      }
    }
  }
}
