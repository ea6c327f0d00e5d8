// `motectl firmware push`: brings an image onto devices.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformImages
import PlatformProtocol
import PlatformService

struct FirmwareCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "firmware", abstract: "Brings firmware onto devices.",
    discussion: """
      Example:
        motectl firmware push edge e7-0042 e7-1.5.0.img
      """,
    subcommands: [Push.self])
}

extension FirmwareCommand {
  struct Push: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lets devices download an image and install it.",
      usage: "motectl firmware push TYPE ID… FILE [--firmware-version V] [--download-only] [--override] [--json]",
      discussion: """
        Serves FILE over HTTP to these devices of one type, as long as it takes: each gets a URL of its own with a \
        secret in it, and the SHA-256 of the file as verifier. Then the platform is asked for firmware/download, and \
        when that is done for firmware/update, of each device. In a terminal there is one progress bar for each; in a \
        pipe, one line for each change. Ctrl-C cancels what is open.

        What a bundle says of itself is shown before, with what speaks against it for each device: another \
        `compatible` in its metadata, or a version that it runs already. A bundle that no device can take is not sent.

        The devices must reach this machine: the URLs have the address from which this machine reaches the platform, \
        unless --address says otherwise.

        Examples:
          motectl firmware push edge e7-0042 e7-1.5.0.img
          motectl firmware push edge e7-0042 e7-0043 e7-1.5.0.img --firmware-version 1.5.0 --json

        \(OptionsTopic.pointer)
        """)

    @Argument(help: ArgumentHelp("The device type.", valueName: "type")) var type: String
    @Argument(help: ArgumentHelp("The devices, and at last the image.", valueName: "id… file"), completion: .file())
    var names: [String]
    @Option(
      help: ArgumentHelp(
        "The image's version. (default: the bundle's, or the one in the file's name, or the digest's first digits)",
        valueName: "version"
      ))
    var firmwareVersion: String?
    @Option(help: ArgumentHelp("The image's name. (default: the file's)", valueName: "name")) var firmwareName: String?
    @Flag(help: "Do not install.") var downloadOnly = false
    @Flag(help: "Take the place of firmware requests that are open.") var override = false
    @Option(help: ArgumentHelp("This machine as the devices reach it.", valueName: "host")) var address: String?
    @Option(
      help: ArgumentHelp("The address to serve on. (default: the one towards the platform)", valueName: "address"))
    var bind: String?
    @Option(help: ArgumentHelp("The port to serve on. (default: any that is free)", valueName: "port"))
    var port: UInt16?
    @Option(help: ArgumentHelp("How many devices at a time.", valueName: "n")) var parallel = 16
    @Option(help: ArgumentHelp("How long each step of a device may take.", valueName: "time"))
    var timeout = TimeLimit(seconds: 3600)
    @OptionGroup var output: OutputOptions
    @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

    private var ids: [String] { names.dropLast() }
    private var file: String { names.last ?? "" }

    func validate() throws {
      guard names.count >= 2 else { throw ValidationError("ID… FILE: at least one device and the image are wanted.") }
      try checkName("TYPE", type)
      for id in ids { try checkName("ID", id) }
      guard Set(ids).count == ids.count else { throw ValidationError("ID…: a device is named twice.") }
      guard (1...64).contains(parallel) else { throw ValidationError("--parallel wants 1 to 64.") }
    }

    func run() async throws {
      // Cancelling takes a call for each device that is under way.
      try await operate(farewellSeconds: 10) {
        let client = try RESTClient(try connection.settings())
        let devices = ids.map { DeviceKey(typeID: type, deviceID: $0) }
        let content = ImageContent(ofFile: file)
        if case .damagedBundle(let words) = content {
          throw ClientError(.noInput, file, "is a bundle that no device takes: \(words)")
        }
        var own: String?
        // A name that is wrong is told before anything is sent to any device.
        for device in devices { own = try await client.probe(device) }
        if let bundle = content.bundle { try await tell(bundle, devices, client) }
        let host = bind ?? own ?? "127.0.0.1"
        let server = try await ImageServer(file: file, address: host, port: Int(port ?? 0))
        let name = firmwareName ?? (file as NSString).lastPathComponent
        let known = content.bundle?.version ?? version(inName: name) ?? String(server.digest.prefix(12))
        let image = FirmwareImage(
          name: name, version: firmwareVersion ?? known,
          verifier: "sha256:\(server.digest)", byteCount: server.byteCount)
        let style: PushBoard.Style = output.json ? .json : isTerminal() ? .bars : .lines
        let board = PushBoard(devices, image, style: style, finalState: downloadOnly ? .downloaded : .installed)
        let push = FirmwarePush(
          client: client, server: server, host: address ?? host, image: image, board: board,
          isDownloadOnly: downloadOnly, overrides: override, seconds: timeout.seconds)
        try await push.run(devices, parallel: parallel)
        await server.close()
        if await !board.isSuccess { throw ExitCode(CommandStatus.failed) }
      }
    }

    /// Tells what a bundle is, and what speaks against it. Whoever reads lines or JSON has it beside them.
    private func tell(_ bundle: BundleSummary, _ devices: [DeviceKey], _ client: RESTClient) async throws {
      complain("\(file): \(bundle.words)")
      for device in devices {
        let record = try await client.device(device)
        let doubts = bundle.doubts(
          compatible: record["metadata"]?["compatible"]?.string,
          runningVersion: record["deviceInfo"]?["fwVersion"]?.string)
        for doubt in doubts { complain("warning: \(device.typeID) \(device.deviceID) \(doubt)") }
      }
    }
  }
}

/// What is to be installed.
struct FirmwareImage: Sendable {
  let name: String
  let version: String
  let verifier: String
  let byteCount: Int64
}

/// The first `1.2` or `1.2.3` in a file's name.
func version(inName name: String) -> String? {
  var best: Substring?
  var start = name.startIndex
  while start < name.endIndex {
    guard name[start].isASCII, name[start].isNumber else {
      start = name.index(after: start)
      continue
    }
    let run = name[start...].prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    var trimmed = run
    while trimmed.last == "." { trimmed.removeLast() }
    if trimmed.contains("."), best == nil { best = trimmed }
    start = run.endIndex
  }
  return best.map(String.init)
}

/// One push: its devices go through it independently.
private struct FirmwarePush: Sendable {
  let client: RESTClient
  let server: ImageServer
  let host: String
  let image: FirmwareImage
  let board: PushBoard
  let isDownloadOnly: Bool
  let overrides: Bool
  let seconds: Double

  func run(_ devices: [DeviceKey], parallel: Int) async throws {
    try await withThrowingTaskGroup(of: Void.self) { observers in
      observers.addTask {
        for await progress in server.progress { try await board.downloaded(progress.device, progress.byteCount) }
      }
      observers.addTask { try await board.drawRepeatedly() }
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        var rest = devices.makeIterator()
        for _ in 0..<parallel {
          guard let device = rest.next() else { break }
          tasks.addTask { try await push(device) }
        }
        while try await tasks.next() != nil {
          guard let device = rest.next() else { continue }
          tasks.addTask { try await push(device) }
        }
      }
      observers.cancelAll()
    }
    try await board.finish()
  }

  /// - Throws: where the whole push is to end: it was interrupted, or nobody reads the output.
  private func push(_ device: DeviceKey) async throws {
    do {
      try await board.set(device, .downloading)
      let parameters = [
        ("uri", server.url(for: device, host: host)), ("name", image.name), ("version", image.version),
        ("verifier", image.verifier),
      ]
      try await carryOut(.firmwareDownload, device, parameters, overrides: overrides)
      try await board.set(device, .downloaded)
      if isDownloadOnly { return }
      try await board.set(device, .installing)
      try await carryOut(.firmwareUpdate, device, [], overrides: false)
      try await board.set(device, .installed)
    } catch let error as ClientError {
      try await board.set(device, .failed, error.message)
    }
  }

  private func carryOut(
    _ action: ManagementAction, _ device: DeviceKey, _ parameters: [(String, String)], overrides: Bool
  ) async throws {
    let id = try await client.makeRequest(
      action, [device], parameters: parameters, timeoutSeconds: Int(seconds.rounded(.up)), overrides: overrides)
    do {
      let status = try await client.follow(id, device, seconds: seconds) { status in
        if !status.isComplete { await board.note(device, status.message) }
      }
      guard status.isSuccess else {
        throw ClientError(.refused, "\(device.typeID) \(device.deviceID)", status.message)
      }
    } catch is CancellationError {
      try? await client.cancelRequest(id)
      throw CancellationError()
    }
  }
}
