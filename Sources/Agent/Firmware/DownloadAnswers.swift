// What a server answers, and what follows from it.

import AgentConfiguration
import Bytes
import HTTP
import HostInterface

extension Download {
  // MARK: The link

  mutating func pollOpening<H: HostLinks & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch host.pollLink(.transfer) {
    case .opening:
      if now >= patience { retry(LinkFailure.connectTimeout.name, now, &log, &host) }
    case .open:
      phase = .sending
      patience = now + AgentLimits.answerHeadTimeout
    case .failed(let failure): retry(failure.name, now, &log, &host)
    case .closed: retry(LinkFailure.connectionLost.name, now, &log, &host)
    }
  }

  mutating func send<H: HostLinks & HostLog & ~Copyable>(_ now: Instant, _ log: inout LogWriter, _ host: inout H) {
    // As many turns as there are bytes of the request at most.
    while !input.isEmpty {
      switch host.send(input.span, on: .transfer) {
      case .moved(let count): input.removeFirst(count)
      case .wouldBlock:
        if now >= patience { retry("no-answer", now, &log, &host) }
        return
      case .ended(let failure): return retry(failure.name, now, &log, &host)
      }
    }
    patience = now + AgentLimits.answerHeadTimeout
    hasUnreadInput = true
    phase = .head
  }

  /// Whether there is room enough to receive. Of a body more than a few bytes are worth it.
  var hasRoom: Bool { bodyCount == 0 ? input.freeCount > 0 : input.freeCount >= input.capacity / 2 }

  /// When receiving may go on.
  var paceEnd: Instant { Instant(milliseconds: (paceMicroseconds + 999) / 1000) }

  mutating func receive<H: HostLinks & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ certificateTime: WallTime, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    if case .body = phase {
      if isBroken { return blame("malformed", now, &log, &host) }
      // What is complete needs no link any more, nor its memory.
      if framing.isAll(in: input.count) {
        host.closeLink(.transfer)
        hasUnreadInput = false
        patience = .never
        if framing.isEnded { retry("short", now, &log, &host) }
        return
      }
      // Whoever takes the bytes, or the limit, is why nothing is received: not the server.
      guard hasRoom, now >= paceEnd else { return beginWindow(now) }
    }
    switch host.receive(on: .transfer, into: &input) {
    case .moved(let count):
      hasUnreadInput = true
      windowBytes += count
      let rate = Int64(settings.firmware.throttleBytesPerSecond)
      if rate > 0 {
        paceMicroseconds = max(paceMicroseconds, now.milliseconds * 1000) + Int64(count) * 1_000_000 / rate
      }
      if case .body = phase { settle() } else { takeHead(settings, certificateTime, now, &log, &host) }
    case .wouldBlock:
      hasUnreadInput = false
      watch(now, &log, &host)
    case .ended(let failure): end(failure, now, &log, &host)
    }
  }

  private mutating func beginWindow(_ now: Instant) {
    windowBytes = 0
    patience = now + AgentLimits.transferWindow
  }

  /// Gives up a server that says nothing, or too little.
  private mutating func watch<H: HostLinks & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard now >= patience else { return }
    guard case .body = phase else { return retry("no-answer", now, &log, &host) }
    guard windowBytes < AgentLimits.transferWindowBytesMin else { return beginWindow(now) }
    retry("too-slow", now, &log, &host)
  }

  private mutating func end<H: HostLinks & HostLog & ~Copyable>(
    _ failure: LinkFailure, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard case .body = phase, framing.lastsUntilClose, failure == .closedByPeer else {
      return retry(failure.name, now, &log, &host)
    }
    // Nobody has told where the file ends. Where this attempt has brought something, the next one will show whether
    // that was all.
    if hasProgressed || input.count > 0 || surplus > 0 { return retry("short", now, &log, &host) }
    _ = framing.close(with: 0)
    settle()
  }

  // MARK: The head

  private mutating func takeHead<H: HostLinks & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ certificateTime: WallTime, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    // RFC 9110, section 15.2: any number of answers that are none yet; five are enough.
    while true {
      let parsed: ResponseHead?
      do throws(ResponseFault) { parsed = try ResponseHead.parse(input.span) } catch {
        return blame("malformed", now, &log, &host)
      }
      guard let head = parsed else { return }
      if head.status >= 200 || head.status == 101 { return follow(head, settings, certificateTime, now, &log, &host) }
      interims += 1
      if interims > AgentLimits.interimAnswersMax { return blame("malformed", now, &log, &host) }
      input.removeFirst(head.byteCount)
    }
  }

  private mutating func follow<H: HostLinks & HostLog & ~Copyable>(
    _ head: ResponseHead, _ settings: borrowing Settings, _ certificateTime: WallTime, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    switch head.status {
    case 200, 206: takeFile(head, now, &log, &host)
    case 301, 302, 303, 307, 308:
      redirect(to: head.location, &host)
      if case .failed = phase { return }
      connect(settings, certificateTime, now, &log, &host)
    case 408, 425, 429, 500...599: retry("busy", status: head.status, after: head.retryAfter, now, &log, &host)
    case 416 where head.range?.total == position && position > 0 && byteCount ?? position == position:
      complete()
      hangUp(&host)
    case 412, 416: change(now, &log, &host)
    default:
      log.begin(.warning, "transfer refused")
      log.add("status", head.status)
      log.end(to: &host)
      let hasQuery = address?.hasQuery(in: current.span) ?? false
      fail(head.status == 403 && hasQuery ? .expired : .refused, &host)
    }
  }

  /// Makes `current` what a redirect means by the bytes `location` of the input.
  private mutating func redirect<H: HostLinks & ~Copyable>(to location: Range<Int>, _ host: inout H) {
    guard let from = address, !location.isEmpty else { return fail(.redirectInvalid, &host) }
    redirects += 1
    guard redirects <= AgentLimits.redirectsMax else { return fail(.redirectsTooMany, &host) }
    from.resolve(location, in: input, into: &current)
    guard !current.hasOverflowed else { return fail(.redirectInvalid, &host) }
    do throws(AddressFault) { address = try WebAddress(parsing: current.span) } catch {
      return fail(.redirectInvalid, &host)
    }
    if from.isSecure, address?.isSecure != true { return fail(.redirectInsecure, &host) }
    hangUp(&host)
  }

  /// The server sends the file, or a part of it.
  private mutating func takeFile<H: HostLinks & HostLog & ~Copyable>(
    _ head: ResponseHead, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    if head.isEncoded { return fail(.encoded, &host) }
    var range = ContentRange(first: 0, last: 0, total: head.contentLength)
    if head.status == 206 {
      // RFC 9110, section 15.3.7: several parts have no such field. A cache may begin earlier than it was asked to.
      guard position > 0, let part = head.range, let first = part.first, first <= position, position <= part.last,
        head.contentLength == nil || head.contentLength == part.last - first + 1
      else { return blame("malformed", now, &log, &host) }
      range = part
    } else if head.isPage, head.contentLength == nil || head.contentLength != byteCount {
      // Somebody in between may have answered: a portal that wants a person to log in, or a proxy in trouble. If it
      // goes on, what the bytes are decides.
      faults += 1
      if faults <= AgentLimits.serverFaultsMax { return retry("web-page", now, &log, &host) }
    }
    let mark = address.map { hostMark($0) } ?? 0
    let isSameTag = head.entityTag.isEmpty || entityTag.span.equals(input.span.extracting(head.entityTag))
    let isOther = !entityTag.isEmpty && entityTagHost == mark && !isSameTag
    if isOther || byteCount != nil && range.total != nil && byteCount != range.total {
      return change(now, &log, &host)
    }
    if head.status == 200, position > 0 {
      // No ranges, or no entity tag that the server would own to. What is there is passed over, not taken again.
      changes += 1
      if changes > AgentLimits.fileChangesMax { return fail(.changed, &host) }
      if let total = range.total, total < position { return change(now, &log, &host) }
    }
    byteCount = range.total ?? byteCount
    if !head.entityTag.isEmpty {
      entityTag.removeAll()
      entityTag.append(head.entityTag, of: input)
      entityTagHost = mark
    }
    surplus = position - (range.first ?? 0)
    let length = head.status == 206 ? range.last - (range.first ?? 0) + 1 : range.total ?? byteCount
    framing = head.isChunked ? .chunked : BodyFraming(byteCount: length)
    input.removeFirst(head.byteCount)
    isBroken = false
    phase = .body
    beginWindow(now)
    settle()
  }

  // MARK: The body

  /// Passes over what is not wanted, so that `body` begins at `position`.
  mutating func settle() {
    // Each turn takes something off the input.
    while true {
      let framingCount: Int
      var next = framing
      do throws(ResponseFault) { framingCount = try next.takeFraming(input.span) } catch {
        isBroken = true
        return
      }
      framing = next
      input.removeFirst(framingCount)
      let count = Int(min(surplus, UInt64(framing.bodyCount(of: input.count))))
      if count == 0 { break }
      input.removeFirst(count)
      framing.takeBody(count)
      surplus -= UInt64(count)
    }
    if surplus == 0, let byteCount, position + UInt64(bodyCount) > byteCount { isBroken = true }
    guard framing.isEnded, surplus == 0 else { return }
    // Chunks say where the end is, as a length does.
    if byteCount ?? position == position { complete() }
  }

  // MARK: Ends

  mutating func complete() {
    byteCount = position
    phase = .complete
  }

  @inline(never)  // small code: called from several places, as below
  mutating func fail<H: HostLinks & ~Copyable>(_ failure: DownloadFailure, _ host: inout H) {
    hangUp(&host)
    phase = .failed(failure)
  }

  /// The server breaks a rule: that may be a passing trouble of somebody in between, but not for ever.
  @inline(never)
  private mutating func blame<H: HostLinks & HostLog & ~Copyable>(
    _ reason: StaticString, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    faults += 1
    if faults > AgentLimits.serverFaultsMax { return fail(.malformed, &host) }
    retry(reason, now, &log, &host)
  }

  /// The server has another file than before.
  private mutating func change<H: HostLinks & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    changes += 1
    entityTag.removeAll()
    byteCount = nil
    if changes > AgentLimits.fileChangesMax { return fail(.changed, &host) }
    hangUp(&host)
    phase = .changed
    log.begin(.warning, "transfer file-changed")
    log.end(to: &host)
  }

  /// Tries again later, from where the file has come to.
  @inline(never)  // small code: called from every way in which an attempt ends
  private mutating func retry<H: HostLinks & HostLog & ~Copyable>(
    _ reason: StaticString, status: Int = 0, after seconds: UInt64? = nil, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    let pause = self.pause(seconds, now)
    attempts += 1
    log.begin(.warning, "transfer interrupted")
    log.add("reason", reason)
    if status > 0 { log.add("status", status) } else { log.addLink(.transfer, from: &host) }
    log.add("at", Int(truncatingIfNeeded: position))
    log.add("retry-in", pause)
    log.end(to: &host)
    hangUp(&host)
    phase = .waiting(until: now + pause)
  }

  /// How long to wait: as the server wishes, or the longer the more attempts have brought nothing, with jitter.
  private func pause(_ seconds: UInt64?, _ now: Instant) -> TimeSpan {
    if let seconds { return .seconds(Int64(min(max(seconds, 1), AgentLimits.retryAfterSecondsMax))) }
    let base: Int64 =
      switch attempts {
      case 0: 5
      case 1: 15
      case 2: 60
      default: 300
      }
    var random = RandomSource(seed: UInt64(bitPattern: now.milliseconds) ^ position)
    return random.timeSpan(in: .seconds(base)...(.milliseconds(base * 1250)))
  }
}

extension ByteBuffer {
  /// Appends the bytes `range` of another buffer.
  fileprivate mutating func append(_ range: Range<Int>, of other: borrowing ByteBuffer) {
    append(other.span.extracting(range))
  }
}
