// A link with a clock of the test's own, and peers for it that run in this process.

import Bytes
import CLinux
import HostInterface
import TestSupport

@testable import LinuxHost

/// A link, driven as the event loop does. The clock is real but can be moved ahead.
final class LinkDriver {
  var link: Link
  private let host: [UInt8]
  private let port: UInt16
  private let security: LinkSecurity
  private let serverName: [UInt8]
  private let trusted: [UInt8]
  private var ahead = TimeSpan.zero
  var certificateTime: WallTime
  /// Lives as long as the driver.
  var peer: AnyObject?

  init(
    host: String, port: UInt16, security: LinkSecurity = .plain, serverName: String = "", trusted: String = "",
    certificateTime: WallTime? = nil
  ) throws {
    var arena = makeArena(byteCount: 32 << 10)
    link = try Link(security == .plain ? .plain : .tls, from: &arena)
    self.host = Array(text: host)
    self.port = port
    self.security = security
    self.serverName = Array(text: serverName)
    self.trusted = Array(text: trusted)
    self.certificateTime = certificateTime ?? WallTime(milliseconds: System.wallMilliseconds())
  }

  deinit { link.close() }

  var now: Instant { System.bootTime() + ahead }

  /// Moves the clock.
  func skip(_ span: TimeSpan) { ahead = .milliseconds(ahead.milliseconds + span.milliseconds) }

  /// One turn of a loop: waits for what the link wants, at most so long.
  func turn(milliseconds: Int32 = 200) {
    var set = PollSet()
    link.register(in: &set)
    set.wait(milliseconds: milliseconds)
    link.noteReady(in: set)
  }

  func poll() -> LinkState { link.poll(now: now) }

  func send(_ bytes: [UInt8]) -> LinkTransfer { link.send(bytes.span) }

  func receive(into buffer: inout ByteBuffer) -> LinkTransfer { link.receive(into: &buffer) }

  private(set) var certificateStart: WallTime?
  var checkedCertificate: Bool { certificateStart != nil }

  var deadline: Instant { link.deadline }

  /// How many descriptors the link waits for.
  var waitsForCount: Int {
    var set = PollSet()
    link.register(in: &set)
    return set.count
  }

  /// Opens the link and goes on until it is open or has failed.
  @discardableResult
  func open(attempt: TimeSpan = .seconds(20)) -> LinkState {
    begin(deadline: now + attempt)
    return finishOpening()
  }

  /// Begins to open the link.
  func begin(deadline: Instant) {
    let (host, serverName, trusted) = (host, serverName, trusted)
    let endpoint = LinkEndpoint(
      host: host.span, port: port, security: security, serverName: serverName.span, trustedCertificates: trusted.span)
    link.open(to: endpoint, now: now, deadline: deadline, certificateTime: certificateTime)
  }

  func finishOpening() -> LinkState {
    let end = System.bootTime() + .seconds(20)
    while System.bootTime() < end {
      let state = link.poll(now: now)
      certificateStart = link.checkedCertificateStart
      if state != .opening { return state }
      turn()
    }
    return link.poll(now: now)
  }

  /// Sends all of it, or what can be sent in some seconds.
  func sendAll(_ bytes: [UInt8]) -> LinkTransfer {
    var sent = 0
    let end = System.bootTime() + .seconds(10)
    while sent < bytes.count, System.bootTime() < end {
      switch link.send(bytes.span.extracting(sent..<bytes.count)) {
      case .moved(let count): sent += count
      case .wouldBlock: turn()
      case .ended(let failure): return .ended(failure)
      }
    }
    return .moved(sent)
  }

  /// Receives until there are `count` bytes, the link ends, or some seconds have passed.
  func receive(_ count: Int, capacity: Int = 4096) -> (bytes: [UInt8], end: LinkFailure?) {
    var all: [UInt8] = []
    var buffer = makeBuffer(capacity: capacity)
    let end = System.bootTime() + .seconds(10)
    while all.count < count, System.bootTime() < end {
      buffer.removeAll()
      switch link.receive(into: &buffer) {
      case .moved: all += Array(buffer.span)
      case .wouldBlock: turn()
      case .ended(let failure): return (all, failure)
      }
    }
    return (all, nil)
  }

  var description: String {
    var line = makeBuffer()
    link.describe(into: &line)
    return line.text
  }
}

/// A listening TCP socket on 127.0.0.1.
final class Listener {
  let descriptor: Int32
  let port: UInt16

  init(backlog: Int32 = 16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        precondition(bind(descriptor, address, size) == 0 && listen(descriptor, backlog) == 0)
        precondition(getsockname(descriptor, address, &size) == 0)
      }
    }
    port = UInt16(bigEndian: address.sin_port)
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Waits for a connection.
  func accept() -> Peer { Peer(descriptor: CLinux.accept(descriptor, nil, nil)) }
}

/// The other end of a link; its calls wait.
final class Peer {
  private(set) var descriptor: Int32

  init(descriptor: Int32) { self.descriptor = descriptor }

  deinit { end() }

  func send(_ bytes: [UInt8]) { _ = CLinux.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

  func receive(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = recv(descriptor, &bytes, count, Int32(MSG_WAITALL))
    return Array(bytes.prefix(max(0, got)))
  }

  func end() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
  }

  /// Ends the connection so that the other side gets ECONNRESET.
  func reset() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    end()
  }
}

/// Bytes that repeat only after a long while, so that lost and doubled pieces show.
func pattern(_ count: Int) -> [UInt8] {
  var source = RandomSource(seed: 7)
  return (0..<count).map { _ in UInt8(truncatingIfNeeded: source.next()) }
}
