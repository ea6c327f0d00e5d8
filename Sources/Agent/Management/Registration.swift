// Being managed: the server is told that the device is there, and told again before it forgets.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT

/// How far the device is known to the server as a managed one, on the present connection.
struct Registration {
  private enum State {
    /// There is no connection, or it has no subscription.
    case offline
    /// The subscription has been asked for.
    case subscribing
    /// The server is told from this moment on.
    case due(from: Instant)
    /// It was told, and has to answer until then.
    case asked(until: Instant)
    /// It knows, and is told again from this moment on.
    case managed(until: Instant)
  }

  private var state = State.offline
  private var random: RandomSource
  /// Whether the device is not to be managed until somebody wants it again.
  private var hasLeft = false
  private var attempts = 0
  /// Whether the server does not know the bundles of our custom actions, and is not told of them now.
  private var withholdsBundles = false
  /// The identifier of the last manage request.
  private var identifier: UInt64 = 0

  init(random: RandomSource) { self.random = random }

  /// The server has accepted a connection.
  mutating func beginConnection() {
    state = hasLeft ? .offline : .subscribing
    attempts = 0
    withholdsBundles = false
  }

  /// The server has let the device go.
  mutating func leave() {
    hasLeft = true
    state = .offline
  }

  /// It is to be managed again.
  mutating func rejoin(_ now: Instant) {
    guard hasLeft else { return repeatManage(now) }
    hasLeft = false
    state = .subscribing
  }

  /// Whether the server knows the device, so that other requests may be sent.
  var isManaged: Bool {
    if case .managed = state { return true }
    return false
  }

  /// The word for it.
  var stateName: StaticString {
    switch state {
    case .offline: hasLeft ? "left" : "offline"
    case .subscribing: "subscribing"
    case .due: "waiting"
    case .asked: "asked"
    case .managed: "managed"
    }
  }

  /// The server is told what is new about the device.
  mutating func repeatManage(_ now: Instant) {
    if case .offline = state { return }
    // Bundles may be installed any time.
    withholdsBundles = false
    state = .due(from: now)
  }

  /// Whether `identifier`, as it stands in an answer, is the one of the request that waits for it.
  func waits(for identifier: Span<UInt8>) -> Bool {
    guard case .asked = state else { return false }
    return identifier.isRequestIdentifier(self.identifier)
  }

  // MARK: Telling

  /// Does what is to be done, and notes in `answers` what it waits for.
  ///
  /// - Parameter isAllowed: whether the server may be told now.
  mutating func advance<H: HostLog & ~Copyable>(
    isAllowed: Bool, _ subscription: SubscriptionState, _ settings: borrowing Settings,
    _ attributes: borrowing DeviceAttributes, _ updater: borrowing Updater, _ answers: inout Answers,
    _ outbox: inout Outbox, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    guard outbox.client.isConnected else {
      state = .offline
      return
    }
    switch state {
    case .offline: return
    case .subscribing:
      switch subscription {
      case .granted: state = .due(from: now)
      // It is asked for again on the next connection.
      case .refused, .unwanted: state = .offline
      case .wanted, .asked: answers.isBusy = true
      }
    case .asked(let until):
      if now >= until { retry(after: pauseAfterFailure(), code: nil, now, &log, &host) }
    case .managed(let until):
      if now >= until { repeatManage(now) }
    case .due: break
    }
    if case .due(let from) = state, now >= from {
      // What does not allow it moves on by itself, or its deadline is what comes next.
      guard isAllowed else { return }
      if answers.isEmpty { manage(settings, attributes, updater, &answers, &outbox, now) }
    }
    switch state {
    case .due(let from) where from > now: answers.noteDeadline(from)
    case .asked(let until), .managed(let until): answers.noteDeadline(until)
    case .due, .offline, .subscribing: break
    }
  }

  /// Asks the server to take the device for managed.
  private mutating func manage(
    _ settings: borrowing Settings, _ attributes: borrowing DeviceAttributes, _ updater: borrowing Updater,
    _ answers: inout Answers, _ outbox: inout Outbox, _ now: Instant
  ) {
    identifier = random.next()
    writeManage(settings, attributes, updater, &answers.payload)
    let topic = TopicName(alreadyChecked: Topics.manage.bytes)
    guard !answers.payload.hasOverflowed else { return state = .due(from: .never) }
    if answers.publish(on: topic, Answers.firstToken, &outbox, now) {
      state = .asked(until: now + AgentLimits.manageTimeout)
    }
  }

  private func writeManage(
    _ settings: borrowing Settings, _ attributes: borrowing DeviceAttributes, _ updater: borrowing Updater,
    _ payload: inout ByteBuffer
  ) {
    payload.removeAll()
    payload.append("{\"d\":{\"lifetime\":")
    payload.append(decimal: settings.management.lifetime.milliseconds / 1000)
    payload.append(",\"supports\":{\"deviceActions\":")
    payload.append(settings.management.hasActions ? "true" : "false")
    payload.append(",\"firmwareActions\":")
    payload.append(updater.isAvailable ? "true" : "false")
    if !withholdsBundles { settings.appendBundles(to: &payload) }
    payload.append(UInt8(ascii: "}"))
    // One that is empty has got no answer from some servers.
    let end = payload.count
    payload.append(",\"deviceInfo\":")
    let start = payload.count
    attributes.appendInformation(settings, updater, to: &payload)
    if payload.count == start + 2 { payload.truncate(to: end) }
    payload.append("},")
    payload.append(requestIdentifier: identifier)
    payload.append(UInt8(ascii: "}"))
  }

  // MARK: Being answered

  /// Takes the server's answer.
  ///
  /// - Returns: whether the device is managed now.
  mutating func takeAnswer<H: HostLog & ~Copyable>(
    _ code: Int, _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    let pause: TimeSpan?
    switch code {
    case 200..<300:
      becomeManaged(settings, now, &log, &host)
      return true
    case ManagementCode.forbidden where settings.firstAction < settings.commands.count && !withholdsBundles:
      // The standard actions are to work even so.
      withholdsBundles = true
      pause = .zero
    case ManagementCode.conflict: pause = random.timeSpan(in: .seconds(1)...(.seconds(10)))
    // It may be registered any time.
    case ManagementCode.notFound: pause = .minutes(60)
    // What it does not like, it will not like then.
    case 400..<500: pause = nil
    default: pause = pauseAfterFailure()
    }
    retry(after: pause, code: code, now, &log, &host)
    return false
  }

  private mutating func becomeManaged<H: HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let lifetime = settings.management.lifetime
    attempts = 0
    // Devices that came back together go their own ways.
    let part = lifetime.milliseconds * 4 / 5
    let jitter = random.timeSpan(in: .milliseconds(-part / 20)...(.milliseconds(part / 20)))
    state = .managed(until: lifetime == .zero ? .never : now + .milliseconds(part + jitter.milliseconds))
    log.begin(.info, "management managed")
    log.add("lifetime", lifetime)
    log.end(to: &host)
  }

  /// Without a pause, not before the next connection.
  @inline(never)  // small code
  private mutating func retry<H: HostLog & ~Copyable>(
    after pause: TimeSpan?, code: Int?, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    state = .due(from: pause.map { now + $0 } ?? .never)
    log.begin(.warning, code == nil ? "management no-answer" : "management refused")
    if let code { log.add("code", code) }
    if let pause { log.add("retry-in", pause) }
    log.end(to: &host)
  }

  private mutating func pauseAfterFailure() -> TimeSpan {
    attempts += 1
    let milliseconds: Int64 = attempts == 1 ? 5000 : attempts == 2 ? 30_000 : attempts == 3 ? 120_000 : 600_000
    return random.timeSpan(in: .milliseconds(milliseconds * 4 / 5)...(.milliseconds(milliseconds)))
  }
}

extension Settings {
  /// Appends each bundle of custom actions once: `,"BUNDLE":true`.
  @inline(never)  // small code
  fileprivate func appendBundles(to payload: inout ByteBuffer) {
    for index in firstAction..<commands.count where isFirstOfBundle(index) {
      payload.append(",\"")
      payload.append(bytes(bundle(ofAction: index)))
      payload.append("\":true")
    }
  }
}

extension ByteBuffer {
  /// Appends the identifier of a request of ours: `"reqId":"0123456789abcdef"`.
  @inline(never)  // small code
  mutating func append(requestIdentifier identifier: UInt64) {
    append("\"reqId\":\"")
    for index in 0..<8 {
      append(hexadecimal: UInt8(truncatingIfNeeded: identifier &>> UInt64(56 &- 8 &* index)))
    }
    append(UInt8(ascii: "\""))
  }
}

extension Span where Element == UInt8 {
  /// Whether this is `identifier` as it stands in an answer, quotes included.
  @inline(never)  // small code
  func isRequestIdentifier(_ identifier: UInt64) -> Bool {
    guard count == 18 else { return false }
    var number: UInt64 = 0
    for index in 1..<17 {
      guard let digit = self[index].hexDigitValue else { return false }
      number = number << 4 | UInt64(digit)
    }
    return number == identifier
  }
}
