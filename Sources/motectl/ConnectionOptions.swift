// Which platform, and as whom: the options that all of the operator's commands have.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService

struct ConnectionOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where MQTT is: mqtt://HOST[:PORT] or mqtts://HOST[:PORT]. (default: the local platform, or the domain's)",
      valueName: "url"))
  var server: String?
  @Option(
    help: ArgumentHelp(
      "Where REST is: http://HOST[:PORT] or https://HOST[:PORT]. (default: as --server)", valueName: "url"))
  var api: String?
  @Option(
    help: ArgumentHelp("The platform's domain: the hosts are ORG.messaging.DOMAIN and ORG.DOMAIN.", valueName: "name"))
  var domain: String?
  @Option(help: ArgumentHelp("The organisation, or 'quickstart'. (default: the API key's)", valueName: "org"))
  var organization: String?
  @Option(help: ArgumentHelp("The API key; its token comes from a file or the environment.", valueName: "key"))
  var key: String?
  @Option(help: ArgumentHelp("The file with the API key's token.", valueName: "file"), completion: .file())
  var tokenFile: String?
  @Option(
    help: ArgumentHelp("The certificates to trust, PEM. (default: the system's)", valueName: "file"),
    completion: .file())
  var caFile: String?
  @Option(help: ArgumentHelp("The application's name in MQTT. (default: a random one)", valueName: "id"))
  var appID: String?
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "A profile: a path, or a name in ~/.config/motectl. (default: 'default', if it is there)", valueName: "name"))
  var profile: String?
  @Flag(help: "Send the token without TLS to hosts other than this one.")
  var allowPlaintextToken = false
  @Flag(help: "Leave the server's certificate unchecked.")
  var allowUnverifiedServer = false

  /// What flags, environment and profile make together.
  func settings() throws(ClientError) -> ApplicationSettings {
    let environment = ProcessInfo.processInfo.environment
    var layers = [flags, environmentLayer(environment)]
    if let path = profilePath(environment) { layers.append(try readProfile(path)) }
    let settings = try ApplicationSettings(layers: layers)
    if !settings.verifiesServer { complain("warning: the server's certificate is not checked") }
    return settings
  }

  private var flags: SettingLayer {
    let values: [(SettingName, String, String?)] = [
      (.server, "--server", server), (.api, "--api", api), (.domain, "--domain", domain),
      (.organization, "--organization", organization), (.key, "--key", key), (.tokenFile, "--token-file", tokenFile),
      (.caFile, "--ca-file", caFile), (.applicationID, "--app-id", appID),
      (.allowPlaintextToken, "--allow-plaintext-token", allowPlaintextToken ? "yes" : nil),
      (.allowUnverifiedServer, "--allow-unverified-server", allowUnverifiedServer ? "yes" : nil),
    ]
    var layer: SettingLayer = [:]
    for (name, flag, value) in values { layer[name] = value.map { SettingValue($0, at: flag) } }
    return layer
  }

  /// The profile's path; nil where none is asked for and the usual one is not there.
  private func profilePath(_ environment: [String: String]) -> String? {
    let home = environment["HOME"] ?? ""
    let folder = (environment["XDG_CONFIG_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? home + "/.config") + "/motectl/"
    let asked = profile ?? environment["MOTECTL_PROFILE"].flatMap { $0.isEmpty ? nil : $0 }
    guard let asked else {
      let usual =
        [folder + "default"] + (saysNothing(environment) ? [localProfile(environment)].compactMap(\.self) : [])
      return usual.first { FileManager.default.fileExists(atPath: $0) }
    }
    return asked.contains("/") ? asked : folder + asked
  }

  /// Whether neither flags nor the environment say which platform, or as whom.
  private func saysNothing(_ environment: [String: String]) -> Bool {
    let said = flags.merging(environmentLayer(environment)) { flag, _ in flag }
    return [.server, .api, .domain, .organization, .key].allSatisfy { said[$0] == nil }
  }

  /// What `motectl platform --lan` left for this machine's tools.
  private func localProfile(_ environment: [String: String]) -> String? {
    usualDataFolder(environment).map { $0 + "/" + LocalNetwork.FileName.profile }
  }

  /// One help topic has them; a shell completes them everywhere.
  static let visibility: ArgumentVisibility =
    CommandLine.arguments.contains { $0.hasPrefix("--generate-completion-script") } ? .default : .hidden

  /// For `--help`.
  static let explanation = """
    Which platform, and as whom, is said by flags, by WIOTP_AUTH_KEY, WIOTP_AUTH_TOKEN and the other WIOTP variables \
    of the platform's libraries, or by a profile (--profile or MOTECTL_PROFILE); the former win. Where none of them \
    says a word it is this user's 'motectl platform --lan', if it ever ran. Without a server or a domain it is the \
    local platform, 127.0.0.1, MQTT on port 1883 and REST on port 8080.

    A profile is a file of lines KEY = VALUE that only its owner can read (mode 0600), in ~/.config/motectl: server, \
    api, domain, port, org, id, auth-key, auth-token or auth-token-file, ca-file, keep-alive. The file 'api-key' that \
    'motectl platform --data' writes is one.
    """
}

/// A device on the command line.
struct DeviceArguments: ParsableArguments {
  @Argument(help: ArgumentHelp("The device type.", valueName: "type"))
  var type: String
  @Argument(help: ArgumentHelp("The device.", valueName: "id"))
  var id: String

  var key: DeviceKey { DeviceKey(typeID: type, deviceID: id) }

  func validate() throws { for (name, text) in [("TYPE", type), ("ID", id)] { try checkName(name, text) } }
}

/// Refuses what can name no type, device, event or command.
func checkName(_ what: String, _ text: String) throws {
  guard isValidName(text) else {
    throw ValidationError("\(what) wants 1 to 36 of A-Z a-z 0-9 - _ ., not '\(printable(text))'.")
  }
}

/// How the output looks.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Write JSON, one object a line.")
  var json = false
}

/// A device's token: where it comes from, and where it goes.
struct TokenOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The file with the token that the device is to have.", valueName: "file"), completion: .file())
  var deviceTokenFile: String?
  @Option(
    help: ArgumentHelp("Write the token to this new file instead of showing it.", valueName: "file"),
    completion: .file())
  var saveToken: String?
}

/// A question that wants yes.
struct ConfirmationOptions: ParsableArguments {
  @Flag(name: .shortAndLong, help: "Do not ask.")
  var yes = false

  /// Asks, where there is a person to ask.
  ///
  /// - Throws: `ExitCode` where the answer is not yes.
  func confirm(_ question: String) throws {
    if yes { return }
    guard isatty(STDIN_FILENO) == 1, isatty(STDERR_FILENO) == 1 else {
      throw ValidationError("Nobody can be asked '\(question)' here: say --yes.")
    }
    try? FileHandle.standardError.write(contentsOf: Data("\(question) [y/N] ".utf8))
    guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
      throw ExitCode(CommandStatus.failed)
    }
  }
}
