// The connection to the server: name look-up, TCP and TLS as one thing that is opened, used and closed.

import Bytes
import CLinux
import HostInterface

/// What a link can be asked for: this decides about its memory.
public enum LinkEquipment: UInt8, Sendable, BitwiseCopyable {
  /// It is never opened.
  case none
  /// Plain TCP.
  case plain
  /// TLS as well.
  case tls
}

/// At most one connection at a time.
///
/// Nothing here blocks. The loop registers what the link waits for (`register`), sleeps, tells what became ready
/// (`noteReady`) and calls again. As long as the last `receive` (`send`) has not answered `.wouldBlock`, the link does
/// not ask to be woken for input (output): a caller that stops earlier comes back by itself.
public struct Link: ~Copyable {
  private let pinned = Pinned()
  /// What an attempt is busy with, and how it ended.
  enum Phase: Equatable {
    case closed
    case lookingUp
    case connecting
    case shakingHands
    case open
    case failed(LinkFailure)
  }

  /// How long one address may take to answer: at least the first while others wait, at most the second.
  static var connectTimeoutMin: TimeSpan { .seconds(5) }
  static var connectTimeoutMax: TimeSpan { .seconds(10) }
  /// How long a TLS handshake may take.
  static var handshakeTimeout: TimeSpan { .seconds(30) }

  private var host: CText
  private var port: UInt16 = 0
  private var security = LinkSecurity.plain
  // DEVIATION(unsafe-pointer): these live in start-up memory, because mbedTLS's callbacks point to them.
  private let socket: UnsafeMutablePointer<Socket>
  private let equippedTLS: UnsafeMutablePointer<TLSConnection>?
  private let trust: UnsafeMutablePointer<TrustStore>?
  private var resolver = Resolver()
  private var addresses: FixedArray<mote_address>
  /// The address in use is the one before.
  private var nextAddress = 0

  private var phase = Phase.closed
  private var attemptDeadline = Instant(milliseconds: 0)
  private var stepDeadline = Instant(milliseconds: 0)
  private var certificateTime = WallTime(milliseconds: 0)
  /// What a handshake waits for: output rather than input.
  private var wantsOutput = false
  /// The most telling failure of this attempt so far.
  private var account = FailureAccount()
  private var pollIndex: Int?
  /// Whether TLS could not receive because it has to send first.
  private var receivingWantsOutput = false
  /// Where the last `poll` opened the link with a certificate that was checked in full against the time given to
  /// `open`: from when on it is valid. Nil for a resumed session.
  public private(set) var checkedCertificateStart: WallTime?

  /// Takes all memory that the link will use from `arena`, but for what mbedTLS allocates from the start of a handshake
  /// until `close`.
  public init(_ equipment: LinkEquipment, from arena: inout Arena) throws(ArenaExhausted) {
    let isUsed = equipment != .none
    let newHost = try CText(countMax: isUsed ? LinkEndpoint.nameBytesMax : 0, for: "link", from: &arena)
    let newAddresses = try FixedArray<mote_address>(
      capacity: isUsed ? Resolver.addressesMax : 0, for: "link", from: &arena)
    let newSocket = try makeSocket(isUsed: isUsed, from: &arena)
    let newTrust = equipment == .tls ? try makeTrust(from: &arena) : nil
    let newTLS = try newTrust.map { trust throws(ArenaExhausted) in
      try makeTLS(socket: newSocket, trust: trust, from: &arena)
    }
    host = newHost
    addresses = newAddresses
    socket = newSocket
    trust = newTrust
    equippedTLS = newTLS
  }

  /// TLS, where the present endpoint has it.
  private var tls: UnsafeMutablePointer<TLSConnection>? { security == .plain ? nil : equippedTLS }

  // MARK: Opening

  /// Begins to open the link; any earlier one must have been closed. All addresses are tried; at `deadline` the whole
  /// attempt fails. `certificateTime` is the time certificates are checked against.
  public mutating func open(
    to endpoint: borrowing LinkEndpoint, now: Instant, deadline: Instant, certificateTime: WallTime
  ) {
    close()
    if !leads(to: endpoint) { turn(to: endpoint) }
    attemptDeadline = deadline
    self.certificateTime = certificateTime
    account = FailureAccount()
    addresses.removeAll()
    nextAddress = 0
    phase = .lookingUp
    follow(resolver.start(host, now: now, addresses: &addresses), now: now)
  }

  /// Whether `endpoint` is where the link led last: then the server's TLS session is still worth something.
  private func leads(to endpoint: borrowing LinkEndpoint) -> Bool {
    guard port == endpoint.port, security == endpoint.security, host.equals(endpoint.host) else { return false }
    guard let trust, let tls else { return true }
    return tls.pointee.isPeer(certificateName(of: endpoint)) && trust.pointee.uses(endpoint.trustedCertificates)
  }

  private mutating func turn(to endpoint: borrowing LinkEndpoint) {
    // Names are as long as a configuration allows, and a link is equipped for what it is asked for: see `HostPlan`.
    precondition(endpoint.security == .plain || equippedTLS != nil)
    let isHostSet = host.set(endpoint.host)
    precondition(isHostSet)
    port = endpoint.port
    security = endpoint.security
    guard let trust, let tls else { return }
    let isPeerSet = tls.pointee.setPeer(certificateName(of: endpoint), isVerified: security == .verified)
    precondition(isPeerSet)
    trust.pointee.use(endpoint.trustedCertificates)
  }

  /// Moves a link that is being opened forward and says where it stands. Goes on with the handshake for what has
  /// arrived; never waits.
  public mutating func poll(now: Instant) -> LinkState {
    checkedCertificateStart = nil
    // Every turn that changes the phase uses up a step of the attempt: at most three for each address.
    var stepsLeft = 3 * Resolver.addressesMax + 4
    while isOpening, stepsLeft > 0 {
      let before = (phase, nextAddress)
      step(now: now)
      if before == (phase, nextAddress) { break }
      stepsLeft -= 1
    }
    return switch phase {
    case .closed: .closed
    case .lookingUp, .connecting, .shakingHands: .opening
    case .open: .open
    case .failed(let failure): .failed(failure)
    }
  }

  private var isOpening: Bool { phase == .lookingUp || phase == .connecting || phase == .shakingHands }

  private mutating func step(now: Instant) {
    switch phase {
    case .lookingUp:
      if now >= attemptDeadline {
        follow(.failed(.nameTimeout, code: 0), now: now)
      } else {
        follow(resolver.poll(now: now, from: nextAddress, addresses: &addresses), now: now)
      }
    case .connecting: finishConnecting(now: now)
    case .shakingHands: shakeHands(now: now)
    case .closed, .open, .failed: break
    }
  }

  private mutating func follow(_ lookup: Lookup, now: Instant) {
    switch lookup {
    case .pending: break
    case .found: tryNextAddress(now: now)
    // What came of the addresses of the other family tells more.
    case .failed where nextAddress > 0: failAttempt()
    case .failed(let failure, let code): finishAttempt(failure, code: code)
    }
  }

  private mutating func failAttempt() {
    resolver.stop()
    phase = .failed(account.failure ?? .connectTimeout)
  }

  /// Begins to connect to the next address. Where there is none left, the other family's may come yet, or the attempt
  /// has failed.
  private mutating func tryNextAddress(now: Instant) {
    guard now < attemptDeadline else { return failAttempt() }
    guard nextAddress < addresses.count else {
      if resolver.isAtWork { phase = .lookingUp } else { failAttempt() }
      return
    }
    let address = addresses[nextAddress]
    let addressesLeft = Int64(addresses.count - nextAddress)
    nextAddress += 1
    let share = TimeSpan.milliseconds((attemptDeadline - now).milliseconds / addressesLeft)
    let patience = min(max(share, Link.connectTimeoutMin), Link.connectTimeoutMax)
    stepDeadline = min(now + patience, attemptDeadline)
    phase = .connecting
    do throws(Errno) {
      socket.pointee.adopt(try System.openSocket(for: address))
      System.setNoDelay(socket.pointee.descriptor)
      if try System.connect(socket.pointee.descriptor, to: address, port: port) {
        socket.pointee.note(Int16(POLLOUT))
      }
    } catch {
      failAddress(connectFailure(error), code: error.code, now: now)
    }
  }

  private mutating func finishConnecting(now: Instant) {
    guard socket.pointee.maySend else {
      if now >= stepDeadline { failAddress(.connectTimeout, code: 0, now: now) }
      return
    }
    do throws(Errno) { try System.checkConnected(socket.pointee.descriptor) } catch {
      return failAddress(connectFailure(error), code: error.code, now: now)
    }
    guard let tls else { return becomeOpen() }
    phase = .shakingHands
    stepDeadline = min(now + Link.handshakeTimeout, attemptDeadline)
    wantsOutput = true
    if tls.pointee.start(now: now, certificateTime: certificateTime) != .done { failHandshake(now: now) }
  }

  private mutating func shakeHands(now: Instant) {
    guard now < stepDeadline else { return failAddress(.tlsTimeout, code: 0, now: now) }
    guard wantsOutput ? socket.pointee.maySend : socket.pointee.mayReceive else { return }
    switch tls?.pointee.shakeHands(now: now) {
    case .done:
      becomeOpen()
      checkedCertificateStart = tls?.pointee.checkedCertificateStart
    case .wantsInput: wantsOutput = false
    case .wantsOutput: wantsOutput = true
    case .ended: failAddress(endOfPeer(.closedByPeer), code: 0, now: now)
    case .failed, nil: failHandshake(now: now)
    }
  }

  /// What happened with addresses before this one is forgotten.
  private mutating func becomeOpen() {
    phase = .open
    resolver.stop()
    receivingWantsOutput = false
    account = FailureAccount()
  }

  /// A certificate that is not good, or an alert, is the server's word and not the way's: other addresses are not
  /// tried.
  private mutating func failHandshake(now: Instant) {
    let failure = tls?.pointee.failure ?? .tlsFailed
    guard failure != .connectionLost else {
      return failAddress(endOfPeer(failure), code: socket.pointee.failureCode, now: now)
    }
    account.note(failure, code: 0, address: nextAddress - 1)
    resolver.stop()
    release(orderly: true)
    phase = .failed(failure)
  }

  private mutating func failAddress(_ failure: LinkFailure, code: Int32, now: Instant) {
    account.note(failure, code: code, address: nextAddress - 1)
    release(orderly: false)
    tryNextAddress(now: now)
  }

  private mutating func finishAttempt(_ failure: LinkFailure, code: Int32) {
    account.note(failure, code: code, address: -1)
    resolver.stop()
    release(orderly: false)
    phase = .failed(failure)
  }

  private mutating func release(orderly: Bool) {
    tls?.pointee.stop()
    socket.pointee.close(orderly: orderly)
  }

  // MARK: Using

  /// Sends the beginning of `bytes`, which must not be empty. After `.wouldBlock` the next call must offer the same
  /// bytes again, more behind them being welcome: with TLS they may be in an encrypted record already.
  public mutating func send(_ bytes: Span<UInt8>) -> LinkTransfer {
    guard phase == .open else { return .ended(.connectionLost) }
    guard socket.pointee.maySend else { return .wouldBlock }
    if let tls {
      let result = tls.pointee.send(bytes)
      return transfer(result.step, result.count)
    }
    return transfer(bytes.withUnsafeBufferPointer { socket.pointee.send($0) })
  }

  /// Whether `receive` may have something. TLS that has answered `.wouldBlock` holds nothing back, but it may have to
  /// send before it can go on.
  public var mayReceive: Bool { phase != .open || socket.pointee.mayReceive || receivingWantsOutput }

  /// Whether `receive` would answer `.wouldBlock` for certain. TLS may hold something back until it has said so itself.
  var isDrained: Bool {
    @inline(__always) get {
      if case .open = phase { return security == .plain && !socket.pointee.mayReceive }
      return false
    }
  }

  /// Receives what is there into the free room of `buffer`, which must not be full.
  public mutating func receive(into buffer: inout ByteBuffer) -> LinkTransfer {
    guard phase == .open else { return .ended(.connectionLost) }
    if let tls {
      let result = tls.pointee.receive(into: &buffer)
      receivingWantsOutput = result.step == .wantsOutput
      return transfer(result.step, result.count)
    }
    var room = buffer.freeSpan
    let result = room.withUnsafeMutableBufferPointer { socket.pointee.receive(into: $0) }
    if case .moved(let count) = result { buffer.commit(count) }
    return transfer(result)
  }

  private mutating func transfer(_ step: TLSStep, _ count: Int) -> LinkTransfer {
    switch step {
    case .done: .moved(count)
    case .wantsInput, .wantsOutput: .wouldBlock
    case .ended: end(.closedByPeer)
    case .failed: end(tls?.pointee.failure ?? .tlsFailed)
    }
  }

  private mutating func transfer(_ result: Socket.Transfer) -> LinkTransfer {
    switch result {
    case .moved(let count): .moved(count)
    case .wouldBlock: .wouldBlock
    case .ended: end(.closedByPeer)
    case .broken: end(.connectionLost)
    }
  }

  /// A peer that closes before it has said anything is told from one that did.
  private func endOfPeer(_ failure: LinkFailure) -> LinkFailure {
    guard failure == .closedByPeer || failure == .connectionLost else { return failure }
    return socket.pointee.isUnanswered ? .unanswered : failure
  }

  @inline(never)  // beside the turns in which something was moved
  private mutating func end(_ cause: LinkFailure) -> LinkTransfer {
    let failure = endOfPeer(cause)
    account.note(failure, code: socket.pointee.failureCode, address: nextAddress - 1)
    return .ended(failure)
  }

  /// Ends the link, telling the peer where that needs no waiting, and frees what the handshake allocated. Harmless
  /// without a link.
  public mutating func close() {
    guard phase != .closed else { return }
    resolver.stop()
    release(orderly: phase == .open)
    phase = .closed
  }

  // MARK: Waiting

  /// Reaps look-ups that have ended. True if one that was killed has not gone yet.
  @inline(never)
  mutating func reap() -> Bool {
    resolver.tidyUp()
    return resolver.dyingCount > 0
  }

  /// When `poll` has something to do even if nothing becomes ready.
  public var deadline: Instant {
    switch phase {
    case .lookingUp: min(resolver.deadline, attemptDeadline)
    case .connecting, .shakingHands: stepDeadline
    case .closed, .open, .failed: .never
    }
  }

  /// Whether there is none, nor any attempt.
  var isClosed: Bool {
    @inline(__always) get {
      if case .closed = phase { return true }
      return false
    }
  }

  /// Adds what the link waits for to `set`: at most one descriptor, and none while the caller has something to do
  /// first.
  ///
  /// - Returns: `deadline`.
  @inline(never)  // small code: called in a loop that the compiler unrolls
  @discardableResult
  mutating func register(in set: inout PollSet) -> Instant {
    pollIndex = nil
    var events: Int16 = 0
    switch phase {
    case .closed, .failed: return .never
    case .lookingUp:
      pollIndex = set.add(resolver.descriptor, events: Int16(POLLIN))
      return deadline
    case .connecting: events = Int16(POLLOUT)
    case .shakingHands: events = wantsOutput ? Int16(POLLOUT) : Int16(POLLIN)
    case .open:
      if !socket.pointee.mayReceive { events |= Int16(POLLIN) }
      if !socket.pointee.maySend { events |= Int16(POLLOUT) }
    }
    // poll(2) reports errors and hang-ups unasked: a link that waits for nothing must not be in the set.
    if events != 0 { pollIndex = set.add(socket.pointee.descriptor, events: events) }
    return deadline
  }

  /// Takes over what `set` found out since `register`.
  @inline(never)  // as above
  mutating func noteReady(in set: borrowing PollSet) {
    guard let index = pollIndex, phase != .lookingUp else { return }
    socket.pointee.note(set.readyEvents(index))
  }

  // MARK: Describing

  /// Appends what is known about the open link or the last failure as ` key=value` pairs, each with a space before it.
  public func describe(into line: inout ByteBuffer) {
    if account.failure == nil {
      guard phase == .open else { return }
      appendAddress(nextAddress - 1, to: &line)
      tls?.pointee.describe(into: &line)
      return
    }
    if account.address < 0 {
      line.append(" name=")
      line.append(plain: host)
    }
    appendAddress(account.address, to: &line)
    account.describe(into: &line)
    if account.isAboutTLS { tls?.pointee.describeFailure(into: &line) }
  }

  private func appendAddress(_ index: Int, to line: inout ByteBuffer) {
    guard index >= 0, index < addresses.count else { return }
    line.append(" address=")
    line.append(addresses[index], port: port)
  }
}

// MARK: Parts

/// Links for all slots, equipped as each is used, in memory from `arena`.
public func makeLinks(
  message: LinkEquipment, transfer: LinkEquipment, from arena: inout Arena
) throws(ArenaExhausted) -> PerLink<Link> {
  try PerLink<Link> { slot throws(ArenaExhausted) in
    try Link(slot == Int(LinkSlot.message.rawValue) ? message : transfer, from: &arena)
  }
}

/// The name that the certificate of `endpoint` must have.
@_lifetime(copy endpoint)
private func certificateName(of endpoint: borrowing LinkEndpoint) -> Span<UInt8> {
  certificateName(endpoint.serverName.isEmpty ? endpoint.host : endpoint.serverName)
}

private func makeSocket(
  isUsed: Bool, from arena: inout Arena
) throws(ArenaExhausted) -> UnsafeMutablePointer<Socket> {
  let ahead = try arena.take(isUsed ? Socket.aheadBytesMax : 0, for: "link")
  let socket = try takePlace(for: Socket.self, named: "link", from: &arena)
  socket.initialize(to: Socket(ahead: ahead))
  return socket
}

private func makeTrust(from arena: inout Arena) throws(ArenaExhausted) -> UnsafeMutablePointer<TrustStore> {
  let trust = try takePlace(for: TrustStore.self, named: "tls trust", from: &arena)
  trust.initialize(to: try TrustStore(from: &arena))
  return trust
}

private func makeTLS(
  socket: UnsafeMutablePointer<Socket>, trust: UnsafeMutablePointer<TrustStore>, from arena: inout Arena
) throws(ArenaExhausted) -> UnsafeMutablePointer<TLSConnection> {
  let tls = try takePlace(for: TLSConnection.self, named: "tls", from: &arena)
  tls.initialize(to: try TLSConnection(socket: socket, trust: trust, from: &arena))
  return tls
}
