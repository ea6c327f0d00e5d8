// A server of images, and the transfer link to it.

import Bytes
import HostInterface

/// What one answer is like.
public enum ImageConduct: Sendable {
  /// The file, as far as it goes.
  case file
  /// The same, cut behind so many bytes.
  case cut(Int)
  /// A page that wants somebody to log in.
  case page
  /// No file, but a status.
  case status(Int)
}

/// Serves files by their paths, over one connection at a time.
final class ImageServer {
  private let world: World
  var files: [String: [UInt8]] = [:]
  /// Behind how many bytes of an answer the next connections are cut.
  var cuts: [Int] = []
  /// What the next answers are like; behind them as `cuts` and `status` say.
  var conducts: [ImageConduct] = []
  /// Whether each request is sent to another address, which is good for one answer.
  var hasMirrors = false
  private var mirror = 0
  /// Why no connection comes about.
  var linkFailure: LinkFailure?
  /// The status of all answers; nil for what fits.
  var status: Int?
  private(set) var requestCount = 0
  private var number = 0
  private var state = LinkState.closed
  private var request: [UInt8] = []
  private var output: [UInt8] = []
  private var available = 0
  private var dies = false

  init(world: World) { self.world = world }

  // MARK: The link

  func open() {
    number += 1
    (state, request, output, available, dies) = (.opening, [], [], 0, false)
    let number = number
    world.after(.milliseconds(10)) { [self] in
      guard self.number == number else { return }
      state = linkFailure.map { .failed($0) } ?? .open
      world.hasNews = true
    }
  }

  func poll() -> LinkState { state }

  func close() {
    number += 1
    state = .closed
  }

  func send(_ bytes: [UInt8]) -> LinkTransfer {
    guard state == .open else { return .ended(.connectionLost) }
    request += bytes
    let text = String(decoding: request, as: UTF8.self)
    if text.hasSuffix("\r\n\r\n") { answer(text) }
    return .moved(bytes.count)
  }

  private func answer(_ text: String) {
    requestCount += 1
    var path = String(text.split(separator: " ")[1])
    var code = status
    if hasMirrors, !path.hasPrefix("/mirror") {
      mirror += 1
      let target = "http://mirror\(mirror).example/mirror\(mirror)\(path)"
      output = Array("HTTP/1.1 302 Found\r\nLocation: \(target)\r\nContent-Length: 0\r\n\r\n".utf8)
      return flow()
    }
    if hasMirrors {
      path = path.hasPrefix("/mirror\(mirror)/") ? String(path.dropFirst("/mirror\(mirror)".count)) : "/"
      mirror += 1
    }
    switch conducts.isEmpty ? .file : conducts.removeFirst() {
    case .file: break
    case .cut(let count): cuts.insert(count, at: 0)
    case .status(let number): code = number
    case .page:
      output = Array(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 19\r\n\r\n<html>log in</html>".utf8)
      return flow()
    }
    guard code == nil, let file = files[path] else {
      output = Array("HTTP/1.1 \(code ?? 404) No\r\nContent-Length: 0\r\n\r\n".utf8)
      return flow()
    }
    var head = "HTTP/1.1 200 OK\r\nContent-Length: \(file.count)\r\n"
    var body = file[...]
    for line in text.lowercased().components(separatedBy: "\r\n") where line.hasPrefix("range: bytes=") {
      let start = Int(line.dropFirst(13).prefix { $0.isNumber }) ?? 0
      body = file.dropFirst(start)
      head =
        "HTTP/1.1 206 Partial Content\r\nContent-Length: \(body.count)\r\n"
        + "Content-Range: bytes \(start)-\(file.count - 1)/\(file.count)\r\n"
    }
    output = Array((head + "\r\n").utf8) + body
    if let cut = cuts.first, cut < output.count {
      cuts.removeFirst()
      output = Array(output.prefix(cut))
      dies = true
    }
    flow()
  }

  /// Some of what is left arrives at a time.
  private func flow() {
    let number = number
    world.after(.milliseconds(2)) { [self] in
      guard self.number == number, available < output.count || dies else { return }
      available = min(output.count, available + 3000)
      world.hasNews = true
      if available < output.count { flow() }
    }
  }

  func receive(into buffer: inout ByteBuffer) -> LinkTransfer {
    guard state == .open else { return .ended(.connectionLost) }
    guard available > 0 else {
      return output.isEmpty && dies ? .ended(.connectionLost) : .wouldBlock
    }
    let count = min(available, buffer.freeCount)
    let piece = Array(output.prefix(count))
    buffer.append(piece.span)
    output.removeFirst(count)
    available -= count
    return .moved(count)
  }

  var mayReceive: Bool { state == .open && (available > 0 || (output.isEmpty && dies)) }
}

/// A bundle of `image`, signed as simulated hosts check it.
func makeBundle(_ image: [UInt8], version: String, securityVersion: UInt32 = 0, kind: UInt8 = 1) -> [UInt8] {
  let blockBytes = 4096
  let pieces = stride(from: 0, to: image.count, by: blockBytes - 32).map {
    Array(image[$0..<min(image.count, $0 + blockBytes - 32)])
  }
  var blocks: [[UInt8]] = []
  var next: [UInt8] = []
  for piece in pieces.reversed() {
    blocks.insert(piece + next, at: 0)
    let digest = standInDigest(piece + next)
    next = (0..<32).map { digest[$0] }
  }
  func number(_ value: UInt64, _ byteCount: Int) -> [UInt8] {
    (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (byteCount - 1 - $0))) }
  }
  func text(_ text: String, _ byteCount: Int) -> [UInt8] {
    Array(text.utf8) + [UInt8](repeating: 0, count: byteCount - text.utf8.count)
  }
  let digest = standInDigest(image)
  var header: [UInt8] = [0x89, 0x4D, 0x4F, 0x54, 0x45, 0x0D, 0x0A, 0x1A] + number(1, 2) + number(512, 2) + number(0, 4)
  header += [kind, 0, 1, 12] + number(UInt64(securityVersion), 4)
  header += number(UInt64(blocks.reduce(0) { $0 + $1.count }), 8) + number(UInt64(image.count), 8)
  header += number(1_690_000_000, 8) + text("acme-e7", 64) + text(version, 32) + number(0, 4)
  header += (0..<32).map { digest[$0] } + next + [UInt8](repeating: 0, count: 140)
  let signed = standInDigest(header)
  let signature: [UInt8] = number(7, 4) + [1, 32] + (0..<32).map { signed[$0] }
  header += signature + [UInt8](repeating: 0, count: 160 - signature.count)
  return header + blocks.flatMap { $0 }
}
