// A file on its way from a server, over the transfer link.
//
//     waiting ─ opening ─ sending ─ head ─ body ─ complete
//        ↑         ↑                 │       │
//        │         └── redirect ─────┤       │
//        └──────── what may pass ────┴───────┘
//
// Each attempt begins at the address that was given: what a redirect leads to may be signed, for minutes. It asks for
// what is not there yet; where the server knows the file by a strong entity tag, only if it is still that one.

import AgentConfiguration
import Bytes
import HTTP
import HostInterface

/// A download, at most one at a time.
///
/// Nothing is kept of the file: who takes it consumes its bytes in order, and says where to go on.
struct Download: ~Copyable {
  enum Phase {
    case idle
    case waiting(until: Instant)
    case opening
    case sending
    case head
    case body
    case complete
    case changed
    case failed(DownloadFailure)
  }

  private let pinned = Pinned()
  var phase = Phase.idle
  /// The address that was given, and the one that is asked at present.
  private var original: ByteBuffer
  var current: ByteBuffer
  /// A request as far as it is not sent, then what has come of the answer.
  var input: ByteBuffer
  /// The strong entity tag of the file; empty where there is none.
  var entityTag: ByteBuffer
  /// Which host has given it: another one may have another for the same file.
  var entityTagHost: UInt32 = 0
  var address: WebAddress?
  /// Where in the file `body` begins: how much has been consumed.
  var position: UInt64 = 0
  /// How many bytes the whole file has, where the server has told.
  var byteCount: UInt64?
  var framing = BodyFraming(byteCount: 0)
  /// How many bytes the body still has in front of `position`.
  var surplus: UInt64 = 0
  /// Whether the body breaks HTTP's rules.
  var isBroken = false
  /// When all of it must be over.
  private var end = Instant.never
  /// When the present step must be over, or the present window of the body.
  var patience = Instant.never
  /// How many bytes have come in this window.
  var windowBytes = 0
  /// When receiving may go on, in microseconds of the host's clock: the configured limit.
  var paceMicroseconds: Int64 = 0
  /// Whether the link may have more.
  var hasUnreadInput = false
  /// Whether any byte of the file has come in this attempt.
  var hasProgressed = false
  var redirects = 0
  var interims = 0
  /// How many attempts in a row have brought nothing.
  var attempts = 0
  /// How often the server has broken rules in a row, and how often it has given another file, or the whole one.
  var faults = 0
  var changes = 0

  /// Takes its memory from `arena`: none where it is not used.
  init(isUsed: Bool, in arena: inout Arena) {
    let addressBytes = isUsed ? HTTPLimits.addressBytesMax : 0
    original = ByteBuffer(capacity: addressBytes, for: "firmware", in: &arena)
    current = ByteBuffer(capacity: addressBytes, for: "firmware", in: &arena)
    entityTag = ByteBuffer(
      capacity: isUsed ? HTTPLimits.entityTagBytesMax : 0, for: "firmware", in: &arena)
    input = ByteBuffer(capacity: isUsed ? HTTPLimits.headBytesMax : 0, for: "firmware", in: &arena)
  }

  // MARK: What is known

  /// What is wrong with an address, for a person; nil where a download may try it.
  static func fault(of address: Span<UInt8>) -> StaticString? {
    do throws(AddressFault) {
      _ = try WebAddress(parsing: address)
      return nil
    } catch { return error.text }
  }

  /// Where it stands.
  var state: DownloadState {
    switch phase {
    case .idle: .idle
    case .waiting: .waiting
    case .opening, .sending, .head, .body: .receiving
    case .complete: .complete
    case .changed: .changed
    case .failed(let failure): .failed(failure)
    }
  }

  /// Bytes of the file that have come, the first of them at `position`.
  var body: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let span = input.span.extracting(0..<bodyCount)
      return _overrideLifetime(span, borrowing: self)
    }
  }

  var bodyCount: Int {
    @inline(never)  // small code: this is called from several places
    get {
      guard case .body = phase, !isBroken else { return 0 }
      return framing.bodyCount(of: input.count)
    }
  }

  /// When `advance` has something to do although nothing has happened.
  var deadline: Instant {
    switch phase {
    case .idle, .complete, .changed, .failed: .never
    case .waiting(let until): min(until, end)
    case .opening, .sending: patience
    // The link does not wake anybody for what it has not been asked for.
    case .head: hasUnreadInput ? paceEnd : patience
    case .body: isBroken || framing.isEnded || hasUnreadInput && hasRoom ? paceEnd : patience
    }
  }

  // MARK: Doing

  /// Begins with the file at `address`, from its byte `offset` on. An earlier download must have been stopped.
  mutating func begin(_ address: Span<UInt8>, at offset: UInt64, _ now: Instant) {
    original.removeAll()
    original.append(address.extracting(0..<min(address.count, original.capacity)))
    entityTag.removeAll()
    byteCount = nil
    position = offset
    end = .never
    attempts = 0
    faults = 0
    changes = 0
    phase = .waiting(until: now)
    if address.count > original.capacity { phase = .failed(.address(.tooLong)) }
  }

  /// Goes on at the byte `offset` of the file, with a new request as a rule. Also behind `.changed`.
  @inline(never)  // small code
  mutating func seek<H: HostLinks & ~Copyable>(to offset: UInt64, _ now: Instant, _ host: inout H) {
    if case .body = phase, offset >= position, offset - position <= AgentLimits.passedOverBytesMax {
      surplus += offset - position
      position = offset
      return settle()
    }
    hangUp(&host)
    position = offset
    phase = .waiting(until: now)
  }

  /// Ends it. Harmless without one.
  mutating func stop<H: HostLinks & ~Copyable>(_ host: inout H) {
    if case .idle = phase { return }
    phase = .idle
    hangUp(&host)
  }

  /// Ends the link, and forgets what has come over it.
  @inline(never)  // small code: called from every way in which an attempt ends
  mutating func hangUp<H: HostLinks & ~Copyable>(_ host: inout H) {
    host.closeLink(.transfer)
    input.removeAll()
  }

  /// The first `count` bytes of `body` are done with.
  @inline(never)  // small code
  mutating func consume(_ count: Int) {
    guard count > 0 else { return }
    precondition(count <= bodyCount)
    input.removeFirst(count)
    framing.takeBody(count)
    position += UInt64(count)
    hasProgressed = true
    attempts = 0
    faults = 0
    settle()
  }

  /// Moves it one state forward where it can; receives once at most. To be called in each turn in which something has
  /// happened, or `deadline` has come, as long as it is waiting or receiving.
  ///
  /// - Parameter certificateTime: what the server's certificate is checked against, by the agent's rule for clocks.
  mutating func advance<H: HostLinks & HostLog & ~Copyable>(
    _ settings: borrowing Settings, certificateTime: WallTime, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch phase {
    case .idle, .changed, .failed: return
    case .complete: return hangUp(&host)
    case .waiting, .opening, .sending, .head, .body: break
    }
    if end == .never { end = now + settings.firmware.deadline }
    guard now < end else { return fail(.deadline, &host) }
    if case .waiting(let until) = phase {
      guard now >= until else { return }
      start(settings, certificateTime, now, &log, &host)
    }
    if case .opening = phase { pollOpening(now, &log, &host) }
    if case .sending = phase { send(now, &log, &host) }
    switch phase {
    case .head, .body: receive(settings, certificateTime, now, &log, &host)
    default: break
    }
  }

  // MARK: Asking

  private mutating func start<H: HostLinks & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ certificateTime: WallTime, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    // RFC 9110, section 15.5.17: nothing is behind the end.
    if let byteCount, byteCount == position { return complete() }
    current.removeAll()
    current.append(original)
    redirects = 0
    hasProgressed = false
    do throws(AddressFault) { address = try WebAddress(parsing: current.span) } catch {
      return fail(.address(error), &host)
    }
    connect(settings, certificateTime, now, &log, &host)
  }

  @inline(never)  // small code: called for addresses and for redirects
  mutating func connect<H: HostLinks & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ certificateTime: WallTime, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    guard let address else { return }
    patience = now + AgentLimits.linkOpenTimeout
    interims = 0
    phase = .opening
    input.removeAll()
    input.appendHost(address, of: current)
    log.begin(.info, "transfer asking")
    log.add("server", text: input)
    log.add("tls", address.isSecure ? "yes" : "no")
    log.add("from", Int(truncatingIfNeeded: position))
    log.end(to: &host)
    input.removeAll()
    // RFC 9110, section 13.1.5: only who gave an entity tag knows what it is of.
    input.appendRequest(
      address, of: current, from: position, entityTag: entityTag, isTagged: entityTagHost == hostMark(address))
    let endpoint = LinkEndpoint(
      host: current.span.extracting(address.host), port: address.port,
      security: address.isSecure ? .verified : .plain, serverName: Span(),
      trustedCertificates: settings.bytes(settings.firmware.caFile))
    host.openLink(.transfer, to: endpoint, certificateTime: certificateTime, deadline: patience)
  }

  /// A number that tells hosts apart.
  func hostMark(_ address: WebAddress) -> UInt32 {
    var mark = CRC32C()
    mark.add(current.span.extracting(address.host))
    return mark.value
  }
}
