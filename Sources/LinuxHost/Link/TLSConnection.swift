// One TLS connection over a socket, and the session that outlives it.

import Bytes
import CLinux
import CMbedTLS
import HostInterface

/// What a step of TLS came to.
enum TLSStep: Equatable {
  case done
  case wantsInput
  case wantsOutput
  case ended
  case failed
}

/// A TLS client connection. Everything that must not move is in start-up memory.
struct TLSConnection: ~Copyable {
  private let pinned = Pinned()
  // DEVIATION(unsafe-pointer): mbedTLS and its callbacks hold pointers into start-up memory.
  private let state: OpaquePointer
  private let socket: UnsafeMutablePointer<Socket>
  private let trust: UnsafeMutablePointer<TrustStore>
  /// The name for SNI and the certificate.
  private var peerName: CText
  /// Set when that name is an address.
  private var peerAddress: mote_address?
  /// Whether the certificate is checked.
  private var isVerified = true

  /// The last session that the server gave us, serialized: the full handshake that it saves costs 20 times as much, in
  /// TLS 1.2 80 times.
  private var session: ByteBuffer
  private var sessionEnd = Instant(milliseconds: 0)
  /// The state of the trusted certificates when the session's server was checked.
  private var sessionTrust: UInt64 = 0
  private var presentTrust: UInt64 = 0
  private var wasSessionOffered = false
  /// Whether the server has sent something that is not of TLS since.
  private var isSessionProven = false

  /// The longest session kept. One of TLS 1.2 or 1.3 with a ticket has 300 to 500 bytes.
  static var sessionBytesMax: Int { 2048 }
  /// How many tickets are kept in one go: the last of a server's usual one to four is as good as the next.
  static var ticketsKeptMax: Int { 8 }
  /// How many tickets are passed over in one go; more is not how a server behaves.
  static var ticketsMax: Int { 256 }
  /// How long a session is offered: a day (RFC 5246 F.1.4), for resuming does not check the certificate again.
  static var sessionAgeMax: TimeSpan { .minutes(24 * 60) }

  init(
    socket: UnsafeMutablePointer<Socket>, trust: UnsafeMutablePointer<TrustStore>, from arena: inout Arena
  ) throws(ArenaExhausted) {
    let peerName = try CText(countMax: LinkEndpoint.nameBytesMax, for: "tls", from: &arena)
    let newState = try arena.take(mote_tls_byte_count(), for: "tls")
    let newSession = try ByteBuffer(capacity: TLSConnection.sessionBytesMax, for: "tls", from: &arena)
    state = OpaquePointer(newState.start)
    session = newSession
    self.peerName = peerName
    self.socket = socket
    self.trust = trust
  }

  /// Says whom the server must be, and by whom that must be certified. The session of another server is worth nothing.
  ///
  /// - Returns: whether the name fits.
  mutating func setPeer(_ name: Span<UInt8>, isVerified: Bool) -> Bool {
    session.removeAll()
    self.isVerified = isVerified
    guard peerName.set(name) else { return false }
    peerAddress = numericAddress(peerName)
    return true
  }

  /// Whether this is the name that the server must have.
  func isPeer(_ name: Span<UInt8>) -> Bool { peerName.equals(name) }

  /// Prepares a handshake; the earlier connection must have been stopped.
  mutating func start(now: Instant, certificateTime: WallTime) -> TLSStep {
    trust.pointee.isUnreadable = false
    presentTrust = isVerified ? trust.pointee.fingerprint() : 0
    if now >= sessionEnd || presentTrust != sessionTrust { session.removeAll() }
    wasSessionOffered = !session.isEmpty
    isSessionProven = false
    let result = session.span.withUnsafeBufferPointer { bytes in
      // RFC 6066 3: an address is not sent as a name.
      var options = mote_tls_options(
        server_name: peerAddress == nil ? peerName.start : nil,
        address: (peerAddress ?? mote_address()).bytes,
        address_count: Int(peerAddress?.byte_count ?? 0),
        is_verified: isVerified,
        time: certificateTime.milliseconds / 1000,
        receive: receiveForTLS, send: sendForTLS, io_context: UnsafeMutableRawPointer(socket),
        find_trusted: findTrustedForTLS, trust_context: UnsafeMutableRawPointer(trust),
        session: wasSessionOffered ? bytes.baseAddress : nil, session_count: bytes.count)
      return mote_tls_start(state, &options)
    }
    return step(result)
  }

  /// Moves the handshake forward.
  mutating func shakeHands(now: Instant) -> TLSStep {
    let result = step(mote_tls_shake_hands(state))
    switch result {
    case .done:
      if !isResumed {
        // What was offered was refused, and so is worth nothing.
        session.removeAll()
        sessionEnd = now + TLSConnection.sessionAgeMax
        sessionTrust = presentTrust
      }
      saveSession()
    case .ended, .failed: doubtSession()
    default: break
    }
    return result
  }

  /// Behind an end that came before a byte of the server's: whatever the reason, the next attempt must not depend on
  /// the session that was offered.
  private mutating func doubtSession() {
    if wasSessionOffered, !isSessionProven { session.removeAll() }
  }

  /// Keeps the session for the next connection. Where there is none yet, one that was resumed stays.
  private mutating func saveSession() {
    let kept = session.count
    session.removeAll()
    let state = self.state
    var room = session.freeSpan
    let count = room.withUnsafeMutableBufferPointer { bytes -> Int32 in
      guard let start = bytes.baseAddress else { return 0 }
      return mote_tls_save_session(state, start, bytes.count)
    }
    if count >= 0 { session.commit(count > 0 ? Int(count) : kept) }
  }

  /// Receives into the free room of `buffer`, which must not be full; `count` is positive if the step is `.done`.
  @inline(never)  // beside what a plain connection has resident
  mutating func receive(into buffer: inout ByteBuffer) -> (step: TLSStep, count: Int) {
    for ticket in 0..<TLSConnection.ticketsMax {
      var room = buffer.freeSpan
      let result = room.withUnsafeMutableBufferPointer { bytes -> Int32 in
        guard let start = bytes.baseAddress else { return Int32(MOTE_TLS_WANTS_INPUT) }
        return mote_tls_read(state, start, bytes.count)
      }
      if result > 0 {
        buffer.commit(Int(result))
        isSessionProven = true
        return (.done, Int(result))
      }
      guard result == MOTE_TLS_NEW_SESSION else {
        let result = step(result)
        if result == .ended || result == .failed { doubtSession() }
        return (result, 0)
      }
      if ticket < TLSConnection.ticketsKeptMax { saveSession() }
    }
    return (.failed, 0)
  }

  /// Sends the beginning of `bytes`, at most one record; `count` is positive if the step is `.done`. After
  /// `.wantsOutput` the same bytes must come again.
  @inline(never)  // as above
  mutating func send(_ bytes: Span<UInt8>) -> (step: TLSStep, count: Int) {
    let result = bytes.withUnsafeBufferPointer { bytes -> Int32 in
      guard let start = bytes.baseAddress else { return Int32(MOTE_TLS_WANTS_OUTPUT) }
      return mote_tls_write(state, start, bytes.count)
    }
    return result > 0 ? (.done, Int(result)) : (step(result), 0)
  }

  /// Says goodbye if that needs no waiting, and gives back all memory that mbedTLS took. Harmless when nothing is open.
  mutating func stop() {
    mote_tls_stop(state)
  }

  private func step(_ result: Int32) -> TLSStep {
    switch Int(result) {
    case Int(MOTE_TLS_DONE): .done
    case Int(MOTE_TLS_WANTS_INPUT): .wantsInput
    case Int(MOTE_TLS_WANTS_OUTPUT): .wantsOutput
    case Int(MOTE_TLS_ENDED): .ended
    default: .failed
    }
  }

  /// Whether the open connection resumed a session.
  var isResumed: Bool { mote_tls_is_resumed(state) }

  /// Where the open connection's certificate was checked, and is good: from when on it is valid.
  var checkedCertificateStart: WallTime? {
    isVerified && !isResumed ? WallTime(milliseconds: mote_tls_valid_from(state) &* 1000) : nil
  }

  /// Why the last step failed.
  var failure: LinkFailure {
    if trust.pointee.isUnreadable { return .tlsTrustUnreadable }
    switch Int(mote_tls_failure(state)) {
    case Int(MOTE_TLS_FAILURE_UNKNOWN_ISSUER): return .tlsUnknownIssuer
    case Int(MOTE_TLS_FAILURE_WRONG_NAME): return .tlsWrongName
    case Int(MOTE_TLS_FAILURE_EXPIRED): return .tlsExpired
    case Int(MOTE_TLS_FAILURE_NOT_YET_VALID): return .tlsNotYetValid
    case Int(MOTE_TLS_FAILURE_REFUSED): return .tlsRefusedByPeer
    case Int(MOTE_TLS_FAILURE_BROKEN): return .connectionLost
    default: return .tlsFailed
    }
  }
}

// MARK: Descriptions

extension TLSConnection {
  /// Appends what is known about the open connection.
  func describe(into line: inout ByteBuffer) {
    line.append(" tls=")
    line.append(cString: mote_tls_version(state))
    line.append(isResumed ? " resumed=yes" : " resumed=no")
  }

  /// Appends what is known about the last failure.
  func describeFailure(into line: inout ByteBuffer) {
    let failure = self.failure
    if failure == .tlsTrustUnreadable || failure == .tlsUnknownIssuer, trust.pointee.hasTooLarge {
      line.append(" cause=certificate-too-large")
    }
    switch failure {
    case .tlsTrustUnreadable:
      line.append(" trusted-certificates=\"")
      trust.pointee.appendPath(to: &line)
      line.append("\"")
    case .tlsUnknownIssuer, .tlsWrongName, .tlsExpired, .tlsNotYetValid:
      describeCertificate(into: &line)
    case .tlsRefusedByPeer:
      line.append(" alert=")
      if let name = mote_tls_alert_name(state) {
        line.append(cString: name)
      } else {
        line.append(decimal: Int(mote_tls_alert(state)))
      }
    case .connectionLost: break
    default:
      if let cause = mote_tls_cause(state) {
        line.append(" cause=")
        line.append(cString: cause)
      }
      guard mote_tls_error(state) != 0 else { return }
      line.append(" tls-error=")
      line.append(hexadecimal: mote_tls_error(state))
      if mote_tls_certificate_flags(state) != 0 {
        line.append(" certificate-flags=")
        line.append(hexadecimal: Int32(bitPattern: mote_tls_certificate_flags(state)))
        describeCertificate(into: &line)
      }
    }
  }

  private func describeCertificate(into line: inout ByteBuffer) {
    // Both are printable and have neither quotes nor backslashes.
    line.append(" subject=\"")
    line.append(cString: mote_tls_subject(state))
    line.append("\" issuer=\"")
    line.append(cString: mote_tls_issuer(state))
    line.append("\"")
  }
}

extension ByteBuffer {
  /// Appends text that ends with a zero.
  mutating func append(cString text: UnsafePointer<CChar>) {
    var next = text
    while next.pointee != 0 {
      append(UInt8(bitPattern: next.pointee))
      next += 1
    }
  }

  /// Appends a number as mbedTLS's documentation writes it: `-0x2700`.
  mutating func append(hexadecimal value: Int32) {
    append(value < 0 ? "-0x" : "0x")
    let magnitude = value.magnitude
    if magnitude > 0xFFFF {
      append(hexadecimal: UInt8(truncatingIfNeeded: magnitude >> 24))
      append(hexadecimal: UInt8(truncatingIfNeeded: magnitude >> 16))
    }
    append(hexadecimal: UInt8(truncatingIfNeeded: magnitude >> 8))
    append(hexadecimal: UInt8(truncatingIfNeeded: magnitude))
  }
}

// MARK: Callbacks

// mbedTLS calls these during `mote_tls_…` calls only, so the pointers are good and nobody else uses the socket.

private func receiveForTLS(
  _ context: UnsafeMutableRawPointer, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int
) -> Int32 {
  let socket = context.assumingMemoryBound(to: Socket.self)
  let bytes = UnsafeMutableBufferPointer(start: bytes, count: count)
  switch socket.pointee.receiveAhead(into: bytes) {
  case .moved(let moved): return Int32(truncatingIfNeeded: moved)
  case .wouldBlock: return Int32(MOTE_TLS_IO_BLOCKED)
  case .ended: return 0
  case .broken: return Int32(MOTE_TLS_IO_BROKEN)
  }
}

private func sendForTLS(
  _ context: UnsafeMutableRawPointer, _ bytes: UnsafePointer<UInt8>, _ count: Int
) -> Int32 {
  let socket = context.assumingMemoryBound(to: Socket.self)
  switch socket.pointee.send(UnsafeBufferPointer(start: bytes, count: count)) {
  case .moved(let moved): return Int32(truncatingIfNeeded: moved)
  case .wouldBlock: return Int32(MOTE_TLS_IO_BLOCKED)
  case .ended, .broken:
    // A server that refuses us sends an alert and closes, while we are still sending. mbedTLS would not receive after a
    // failed send, so it is let believe that these bytes went out: it finds the alert, or the end.
    return socket.pointee.expectLastWords() ? Int32(truncatingIfNeeded: count) : Int32(MOTE_TLS_IO_BROKEN)
  }
}

private func findTrustedForTLS(
  _ context: UnsafeMutableRawPointer, _ issuer: UnsafePointer<UInt8>, _ count: Int, _ found: OpaquePointer
) -> Int32 {
  let trust = context.assumingMemoryBound(to: TrustStore.self)
  let issuer = Span(_unsafeStart: issuer, count: count)
  return trust.pointee.find(issuer, into: found) ? 0 : -1
}
