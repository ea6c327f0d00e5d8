// `motectl platform`: the local Platform Service.

import ArgumentParser
import Foundation
import Logging
import PlatformClient
import PlatformHTTP
import PlatformImages
import PlatformProtocol
import PlatformServer
import PlatformService
import PlatformStore

struct PlatformCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "platform", abstract: "Runs a Platform Service on this machine.",
    discussion: """
      Listens on loopback for MQTT 3.1.1 (port 1883) and HTTP (port 8080; MQTT in WebSockets at /mqtt), and lets \
      anyone use the organisation 'quickstart'. Elsewhere it wants TLS and registered devices, unless told otherwise.

      Everything is in memory unless --data names a folder. There, the first start makes an API key and writes it to \
      the file 'api-key'. WIOTP_AUTH_KEY and WIOTP_AUTH_TOKEN in the environment are taken for an API key as well.

      --lan makes it a platform for the boards of this network: it listens on all addresses, over TLS only (MQTT on \
      port 8883, HTTP on port 8443), for registered devices only. Its first start makes a certificate authority and a \
      certificate of its own, and each start says what to do next. Where --data names no other folder it keeps what it \
      has in ~/.local/share/motectl/platform.

      Examples:
        motectl platform
        motectl platform --lan
        motectl platform --data platform --registrations fleet.json
        motectl platform --data platform --bind 0.0.0.0 --mqtts 8883 --https 8443 --certificate chain.pem --key key.pem

      Reached by a host name over HTTP that is not in its certificate, it wants to know it: --name platform.example

      When it is ready it prints one line: listening mqtt=ADDRESS:PORT http=ADDRESS:PORT
      Exit status: 0 after SIGINT or SIGTERM; 64 wrong usage; 65 damaged database; 69 a port is taken; 70 the \
      database refuses what is to be kept, for good; 78 wrong configuration.
      """)

  @Flag(help: "Serve the boards of this network, with a certificate authority of its own.") var lan = false
  @Option(help: "The address to listen on. (default: 127.0.0.1; all with --lan)") var bind: String?
  @Option(help: "The port for MQTT without TLS; 0 for any that is free, 'off' for none. (default: 1883 on loopback)")
  var mqtt: Port?
  @Option(help: "The port for MQTT over TLS; needs --certificate and --key, or --lan. (default: 8883 with --lan)")
  var mqtts: Port?
  @Option(help: "The port for HTTP and WebSockets without TLS. (default: 8080 on loopback)") var http: Port?
  @Option(help: "The port for HTTP and WebSockets over TLS, likewise. (default: 8443 with --lan)") var https: Port?
  @Option(help: "The certificate chain, a PEM file.") var certificate: String?
  @Option(help: "The certificate's private key, a PEM file.") var key: String?
  @Option(
    help: """
      A host name that this platform is reached by over HTTP, besides addresses, localhost and the certificate's; \
      those below it are as good. To be given once for each.
      """)
  var name: [String] = []
  @Option(help: "The folder of the database; it is made if it is not there.") var data: String?
  @Option(help: "The organisation: six lower-case letters and digits.") var organization = "local0"
  @Option(help: "Device types, devices with tokens, and API keys to be registered at start, a JSON file.")
  var registrations: String?
  @Option(help: "How fast clients may publish: standard, lite or unlimited.")
  var rates = ServiceConfiguration.RatePlan.standard
  @Flag(
    inversion: .prefixedNo,
    help: "Let anyone use the organisation 'quickstart' without credentials. (default: on loopback only)")
  var quickstart: Bool?
  @Flag(help: "Listen without TLS on addresses that are not loopback.") var insecure = false
  @Option(help: "error, warning, info or debug.") var logLevel = "info"

  func validate() throws {
    guard isOrganization(organization) else {
      throw ValidationError("--organization wants six lower-case letters and digits, not '\(organization)'.")
    }
    guard ["error", "warning", "info", "debug"].contains(logLevel) else {
      throw ValidationError("--log-level wants error, warning, info or debug, not '\(logLevel)'.")
    }
    guard (certificate == nil) == (key == nil) else { throw ValidationError("--certificate and --key go together.") }
    if !lan, mqtts?.number != nil || https?.number != nil, certificate == nil {
      throw ValidationError("TLS needs --certificate and --key, or --lan.")
    }
  }

  private func isOrganization(_ name: String) -> Bool {
    name.utf8.count == 6 && name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) }
  }

  func run() async throws {
    let logger = makeLogger(logLevel)
    let signals = TerminationSignals()
    raiseFileLimit()
    // A file that may not grow is an error to be told, and a log that nobody reads is none: not the program's end.
    for number in [SIGXFSZ, SIGPIPE] { signal(number, SIG_IGN) }
    let network = try openNetwork(logger)
    let server = try makeServer(network, logger)
    try await setUp(server.platform, logger)
    let images = try openImages(logger)
    let responder = makePlatformRouter(
      server.platform, names: server.hostNames, images: images, logger: logger
    ).buildResponder()
    // Detached, because neither the listeners nor the wait for a signal end by themselves: the program does.
    let serving = Task {
      do {
        try await server.run(responder: responder) { listeners in
          let line = listeners.map { "\($0.name)=\($0.address):\($0.port)" }.joined(separator: " ")
          logger.info("platform listening \(line)")
          announce(network, listeners, logger)
          say("listening \(line)")
          if let network { say(network.explanation(listeners, isUsualFolder: data == nil)) }
        }
      } catch {
        logger.error("platform failed reason=\(quoted("\(error)"))")
        Foundation.exit(69)
      }
    }
    let signal = await signals.first()
    logger.info("platform stopping reason=\(signal)")
    try await server.shutDown()
    images.close()
    serving.cancel()
    logger.info("platform stopped")
    Foundation.exit(0)
  }

  private var address: String { bind ?? (lan ? "0.0.0.0" : "127.0.0.1") }
  private var isLoopback: Bool { PlatformClient.isLoopback(host: address) }
  /// Nil for a platform that keeps nothing.
  private var folder: String? { data ?? (lan ? usualDataFolder() : nil) }

  /// With --lan: the folder, and what TLS takes in it. A certificate that is given has a reason.
  private func openNetwork(_ logger: Logger) throws -> LocalNetwork? {
    guard lan else { return nil }
    guard let folder else { throw refusal(logger, "--lan wants a folder for what it keeps: say --data.") }
    do {
      try prepareDataFolder(folder, logger)
      guard certificate == nil else { return nil }
      return try LocalNetwork(in: folder, organization: organization, listeningTo: address, logger)
    } catch {
      throw refusal(logger, "\(error)")
    }
  }

  private func announce(_ network: LocalNetwork?, _ listeners: [PlatformServer.Listener], _ logger: Logger) {
    do {
      try network?.writeProfile(listeners)
    } catch {
      logger.warning("platform profile-not-written reason=\(quoted("\(error)"))")
    }
  }

  private func makeServer(_ network: LocalNetwork?, _ logger: Logger) throws -> PlatformServer {
    var configuration = ServerConfiguration()
    configuration.address = address
    configuration.mqttPort = mqtt.map(\.number) ?? (isLoopback && !lan ? 1883 : nil)
    configuration.mqttsPort = mqtts.map(\.number) ?? (lan ? 8883 : nil)
    configuration.httpPort = http.map(\.number) ?? (isLoopback && !lan ? 8080 : nil)
    configuration.httpsPort = https.map(\.number) ?? (lan ? 8443 : nil)
    if let certificate, let key { configuration.certificate = (certificate, key) }
    if let network { configuration.certificate = network.certificate }
    configuration.folder = folder
    configuration.names = name
    guard isLoopback || insecure || (configuration.mqttPort == nil && configuration.httpPort == nil) else {
      throw refusal(logger, "\(address) is not loopback: use --mqtts and --https, or say --insecure.")
    }
    guard configuration.hasListener else {
      throw refusal(
        logger,
        isLoopback
          ? "there is nothing to listen to: give one of --mqtt, --mqtts, --http and --https a port."
          : "there is nothing to listen to: \(address) is not loopback, so say --mqtts or --https with their ports, or "
            + "--insecure with --mqtt or --http and theirs.")
    }
    let service = ServiceConfiguration(
      organization: organization, allowsQuickstart: quickstart ?? (isLoopback && !lan), rates: rates,
      isKept: folder != nil,
      random: { UInt64.random(in: .min ... .max) })
    do {
      if let folder, !lan { try prepareDataFolder(folder, logger) }
      return try PlatformServer(configuration, service: service, logger: logger)
    } catch let error as StoreError {
      logger.error("store failed reason=\(quoted(error.description))")
      throw ExitCode(65)
    } catch {
      throw refusal(logger, "\(error)")
    }
  }

  private func openImages(_ logger: Logger) throws -> ImageStore {
    do throws(ImageError) {
      return try ImageStore(in: folder)
    } catch {
      throw refusal(logger, "the folder of images in \(folder ?? "") cannot be used: \(error)")
    }
  }

  private func refusal(_ logger: Logger, _ message: String) -> ExitCode {
    logger.error("platform refused reason=\(quoted(message))")
    return ExitCode(78)
  }

  /// Registers what the file and the environment name, and makes an API key where there is none.
  private func setUp(_ platform: ServiceActor, _ logger: Logger) async throws {
    do {
      if let registrations {
        let mode = try? FileManager.default.attributesOfItem(atPath: registrations)[.posixPermissions] as? Int
        if let mode, mode & 0o077 != 0 {
          logger.warning("registry file-readable-by-others file=\(quoted(registrations))")
        }
        try await Registrations(file: registrations).register(in: platform)
      }
      let environment = ProcessInfo.processInfo.environment
      if let key = environment["WIOTP_AUTH_KEY"], let token = environment["WIOTP_AUTH_TOKEN"] {
        try await Registrations(apiKeys: [.init(key: key, token: token)]).register(in: platform)
      }
      guard let folder, await platform.read({ $0.apiKeys.isEmpty }) else { return }
      // The file first: a key that is registered, and whose token nobody has, would never be made again.
      let key = "a-\(organization)-" + randomText(10, of: "abcdefghijklmnopqrstuvwxyz0123456789")
      let token = randomText(18, of: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
      let path = folder + "/api-key"
      try writeSecret("WIOTP_AUTH_KEY=\(key)\nWIOTP_AUTH_TOKEN=\(token)\n", to: path)
      _ = try await platform.change {
        try $0.addAPIKey(APIKeyDraft(key: key, token: token, comment: "made at first start"), now: .now)
      }
      logger.info("registry api-key-made key=\(key) file=\(quoted(path))")
    } catch let error as ServiceError {
      throw refusal(logger, error.message)
    } catch let error as RegistrationsError {
      throw refusal(logger, error.description)
    }
  }
}

/// A port, or none.
struct Port: ExpressibleByArgument {
  /// 0 for any that is free; nil for none.
  let number: Int?

  init?(argument: String) {
    if argument == "off" {
      number = nil
    } else {
      guard let value = UInt16(argument) else { return nil }
      number = Int(value)
    }
  }
}

extension ServiceConfiguration.RatePlan: ExpressibleByArgument {}

/// As many connections as the system lets this program have.
private func raiseFileLimit() {
  var limit = rlimit()
  guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// So many random characters of `alphabet`.
private func randomText(_ count: Int, of alphabet: String) -> String {
  let characters = Array(alphabet)
  var random = SystemRandomNumberGenerator()
  return String((0..<count).compactMap { _ in characters.randomElement(using: &random) })
}

/// Writes a file that only its owner can read: all of it, and on the disk, or nothing.
func writeSecret(_ text: String, to path: String) throws(RegistrationsError) {
  func failure() -> RegistrationsError {
    RegistrationsError(description: "cannot write \(path): \(String(cString: strerror(errno)))")
  }
  let new = path + ".new"
  unlink(new)
  let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
  guard descriptor >= 0 else { throw failure() }
  let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  let isWritten = (try? file.write(contentsOf: Data(text.utf8))) != nil && fsync(descriptor) == 0
  guard isWritten, rename(new, path) == 0 else {
    defer { unlink(new) }
    throw failure()
  }
}

/// A value of the log that may have blanks in it.
func quoted(_ text: String) -> String { JSONValue.string(text).text }

/// Prints a line, at once, if anybody reads it.
private func say(_ line: String) { try? FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8)) }
