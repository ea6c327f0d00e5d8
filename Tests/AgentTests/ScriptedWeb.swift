// Servers for tests of downloads: what they answer is a function of what they are asked.

import AgentConfiguration
import Bytes
import HostInterface
import TestSupport

@testable import Agent

/// What a server was asked.
struct WebRequest: Equatable {
  /// `http://a:80`.
  let server: String
  let text: String
  let certificateTime: WallTime

  /// Where in the file it is to begin; nil where no range is asked for.
  var offset: Int? {
    guard let line = text.split(separator: "\r\n").first(where: { $0.hasPrefix("Range: bytes=") }) else { return nil }
    return Int(line.dropFirst("Range: bytes=".count).dropLast())
  }

  /// The same, 0 where none is asked for.
  var from: Int { offset ?? 0 }

  /// The path with its query.
  var path: String { String(text.split(separator: " ")[1]) }

  func has(_ line: String) -> Bool { text.split(separator: "\r\n").contains { $0 == line } }
}

/// What it answers.
struct WebAnswer {
  var bytes: [UInt8] = []
  /// How the link ends behind the bytes; nil: it does not.
  var end: LinkFailure? = .closedByPeer
  /// How many bytes come a second at most.
  var bytesPerSecond = Int.max

  init(_ status: Int, _ fields: [String] = [], body: [UInt8] = []) {
    bytes = Array(text: (["HTTP/1.1 \(status) X"] + fields + ["", ""]).joined(separator: "\r\n")) + body
  }

  init(bytes: [UInt8]) { self.bytes = bytes }

  /// The same with the link's end behind so many bytes of body.
  func cut(behind count: Int, _ end: LinkFailure? = .connectionLost) -> WebAnswer {
    var answer = self
    let endOfHead = [0x0D, 0x0A, 0x0D, 0x0A] as [UInt8]
    let head = (bytes.indices.first { bytes[$0...].starts(with: endOfHead) } ?? 0) + 4
    answer.bytes = Array(bytes.prefix(head + count))
    answer.end = end
    return answer
  }
}

/// A host that has nothing but the transfer link.
struct WebHost: HostLinks, HostLog {
  var time = Instant(milliseconds: 10_000)
  /// How much is received at once at most.
  var pieceBytes = 3000
  var serve: (WebRequest) -> WebAnswer
  /// Why there is no link to a server.
  var connect: (String, WallTime) -> LinkFailure? = { _, _ in nil }
  private(set) var requests: [WebRequest] = []
  private(set) var lines: [String] = []
  private(set) var isOpen = false
  private var server = ""
  private var certificateTime = WallTime(milliseconds: 0)
  private var request: [UInt8] = []
  private var answer: WebAnswer?
  private var begun = Instant(milliseconds: 0)
  private var given = 0

  init(_ serve: @escaping (WebRequest) -> WebAnswer) { self.serve = serve }

  mutating func openLink(
    _ slot: LinkSlot, to endpoint: borrowing LinkEndpoint, certificateTime: WallTime, deadline: Instant
  ) {
    precondition(slot == .transfer && !isOpen, "one link at a time")
    isOpen = true
    server = "\(endpoint.security == .plain ? "http" : "https")://\(Array(endpoint.host).text):\(endpoint.port)"
    self.certificateTime = certificateTime
    request = []
    answer = nil
  }

  mutating func pollLink(_ slot: LinkSlot) -> LinkState {
    guard isOpen else { return .closed }
    return connect(server, certificateTime).map { .failed($0) } ?? .open
  }

  mutating func send(_ bytes: Span<UInt8>, on slot: LinkSlot) -> LinkTransfer {
    precondition(isOpen && answer == nil)
    let count = min(bytes.count, 100)
    request += Array(bytes.extracting(0..<count))
    if request.suffix(4) == [0x0D, 0x0A, 0x0D, 0x0A] {
      let asked = WebRequest(server: server, text: request.text, certificateTime: certificateTime)
      requests.append(asked)
      answer = serve(asked)
      begun = time
      given = 0
    }
    return .moved(count)
  }

  mutating func receive(on slot: LinkSlot, into buffer: inout ByteBuffer) -> LinkTransfer {
    precondition(isOpen && buffer.freeCount > 0)
    guard let answer else { return .wouldBlock }
    let seconds = Int((time - begun).milliseconds / 1000)
    let due =
      answer.bytesPerSecond == .max ? answer.bytes.count : min(answer.bytes.count, seconds * answer.bytesPerSecond)
    let count = min(due - given, buffer.freeCount, pieceBytes)
    if count > 0 {
      let piece = Array(answer.bytes[given..<(given + count)])
      buffer.append(piece.span)
      given += count
      return .moved(count)
    }
    guard given == answer.bytes.count, let end = answer.end else { return .wouldBlock }
    return .ended(end)
  }

  func mayReceive(on slot: LinkSlot) -> Bool { isOpen }
  func checkedCertificateStart(_ slot: LinkSlot) -> WallTime? { nil }
  mutating func closeLink(_ slot: LinkSlot) { isOpen = false }
  mutating func describeLink(_ slot: LinkSlot, into line: inout ByteBuffer) {}
  mutating func writeLog(_ level: LogLevel, _ line: Span<UInt8>) { lines.append(Array(line).text) }
}

/// Somebody who fetches a file, and takes it as it comes.
final class Fetcher {
  var host: WebHost
  private var download: Download
  private let settings: Settings
  private var log: LogWriter
  private var arena: Arena
  /// What has been taken.
  var file: [UInt8] = []
  /// How often all began anew.
  private(set) var restarts = 0
  /// How much is taken at once at most.
  var takeMax = Int.max
  var certificateTime = WallTime(milliseconds: 1_800_000_000_000)

  init(_ configuration: String = "", _ serve: @escaping (WebRequest) -> WebAnswer) throws {
    var arena = makeArena(byteCount: 4 << 20)
    let settings = try makeSettings(
      """
      [device]
      org = ab12cd
      type = edge
      id = e7-0042
      auth-token = secret
      [management]
      lifetime = 1h
      [firmware]
      installer = command
      run = /bin/true

      """ + configuration, from: &arena)
    let newLog = try LogWriter(threshold: .debug, from: &arena)
    let newDownload = Download(isUsed: true, in: &arena)
    log = newLog
    download = newDownload
    self.settings = settings
    self.arena = arena
    host = WebHost(serve)
  }

  var state: DownloadState { download.state }
  var byteCount: UInt64? { download.byteCount }
  var position: Int { Int(download.position) }
  var deadline: Instant { download.deadline }

  func begin(_ address: String, at offset: Int = 0) {
    let bytes = Array(address.utf8)
    download.begin(bytes.span, at: UInt64(offset), host.time)
  }

  func seek(to offset: Int) { download.seek(to: UInt64(offset), host.time, &host) }
  func stop() { download.stop(&host) }

  /// One turn of the loop.
  func turn() {
    download.advance(settings, certificateTime: certificateTime, host.time, &log, &host)
    var left = takeMax
    while !download.body.isEmpty, left > 0 {
      let count = min(download.body.count, left)
      precondition(file.count == position, "bytes that do not belong there")
      file += Array(download.body.extracting(0..<count))
      download.consume(count)
      left -= count
    }
  }

  /// Turns until it is over, or so much time has passed. Gives the state: `complete`, or the word of the failure.
  @discardableResult
  func run(for span: TimeSpan = .minutes(60 * 24 * 10)) -> String {
    let end = host.time + span
    var idleTurns = 0
    while host.time <= end {
      let before = (file.count, host.requests.count, host.lines.count)
      turn()
      switch state {
      case .complete: return "complete"
      case .failed(let failure): return "\(failure.name) \(failure.updateStatus)"
      case .changed:
        restarts += 1
        file = []
        seek(to: 0)
      case .idle: return "idle"
      case .waiting, .receiving: break
      }
      let hasMoved = before != (file.count, host.requests.count, host.lines.count)
      idleTurns = hasMoved ? 0 : idleTurns + 1
      precondition(idleTurns < 10_000, "the loop spins: \(host.lines.suffix(3))")
      guard deadline > host.time else { continue }
      host.time = min(deadline, host.time + .seconds(1))
      idleTurns = 0
    }
    return "\(state)"
  }
}
