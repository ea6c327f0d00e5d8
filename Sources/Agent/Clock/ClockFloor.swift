// What time it is at least.
//
// A board without a battery starts in 1970, and then no certificate is valid yet. But time has certainly passed since
// this program was built, and since it last ran: the clock floor is the later of the two.

import Bytes
import HostInterface

/// The clock floor: which times of day are believed, and which one is kept for the next start.
struct ClockFloor: ~Copyable {
  /// How often the last known time is stored at most: flash wears out.
  static var storeInterval: TimeSpan { .minutes(60) }
  /// How far behind the build a stored time may be to be believed: 30 years. A wrong one must not make every
  /// certificate expired.
  static var storedAfterBuildMax: TimeSpan { .seconds(30 * 365 * 86_400) }
  /// How long the agent waits at its start for what was stored.
  static var readPatience: TimeSpan { .seconds(2) }

  /// What is going on with the record.
  private enum Work {
    /// It is being read.
    case reading
    /// Nothing.
    case none
    /// `content` is being stored.
    case storing
  }

  /// A moment on both clocks at which the wall clock was proven right.
  private struct Proof {
    let now: Instant
    let time: WallTime
  }

  private let pinned = Pinned()
  private let buildTime: WallTime
  private var floor: WallTime
  private let patienceEnd: Instant
  private var work = Work.reading
  /// What the record has, or will have: seconds since 1970, eight bytes, most significant first.
  private var content: ByteBuffer
  private var proof: Proof?
  private var nextStore = Instant(milliseconds: .min)
  private var isEnding = false
  /// Whether the last attempt to store failed: a lasting fault is logged once.
  private var isFailing = false

  /// Starts with the time at which the program was built.
  init(buildTime: WallTime, now: Instant, from arena: inout Arena) throws(ArenaExhausted) {
    content = try ByteBuffer(capacity: StorageRecord.clock.roomNeeded, for: "clock", from: &arena)
    self.buildTime = buildTime
    floor = buildTime
    patienceEnd = now + ClockFloor.readPatience
  }

  // MARK: Asking

  /// Whether what was stored is known, or not worth waiting for any longer.
  @inline(__always)
  func isSettled(at now: Instant) -> Bool {
    if case .reading = work { return now >= patienceEnd }
    return true
  }

  /// UTC; nil while the system's clock is earlier than the floor, so wrong.
  @inline(__always)
  func wallTime<H: HostClock & ~Copyable>(_ host: inout H) -> WallTime? {
    let time = host.systemTime()
    return time < floor ? nil : time
  }

  /// The time to check certificates against: the system's, or the floor where that is later.
  func certificateTime<H: HostClock & ~Copyable>(_ host: inout H) -> WallTime { max(host.systemTime(), floor) }

  // MARK: Remembering

  /// Takes the present time as proven: a certificate was checked against it and is good. Only such a time is ever
  /// stored, for a wrong one in the future would outlast its correction.
  mutating func noteProven<H: HostClock & ~Copyable>(at now: Instant, _ host: inout H) {
    proof = Proof(now: now, time: certificateTime(&host))
  }

  /// The agent is about to end: what is known is stored at once.
  mutating func prepareEnd(_ now: Instant) {
    guard !isEnding else { return }
    isEnding = true
    nextStore = now
  }

  /// Whether the end need not wait for the storage.
  var isReadyToEnd: Bool {
    if case .storing = work { return false }
    return true
  }

  /// When there is something to do that cannot wait for the next wake-up: nobody is woken to store a time.
  func deadline(_ now: Instant) -> Instant? { isSettled(at: now) ? nil : patienceEnd }

  /// Reads what was stored, at first, and stores the last known time when that is due.
  @inline(__always)
  mutating func advance<H: HostClock & HostStorage & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch work {
    case .none: if proof != nil, now >= nextStore { beginStoring(now, &log, &host) }
    case .reading: read(&log, &host)
    case .storing: store(&log, &host)
    }
  }

  private mutating func read<H: HostStorage & HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    let answer = host.readRecord(.clock, into: &content)
    guard answer != .pending else { return }
    work = .none
    switch answer {
    case .done: adoptStored()
    case .damaged, .failed: logAnswer(answer, "clock not-read", &log, &host)
    case .pending, .notFound, .noSpace, .readOnly: break
    }
  }

  private mutating func adoptStored() {
    guard content.count == 8 else { return }
    var seconds: UInt64 = 0
    for index in 0..<8 { seconds = seconds << 8 | UInt64(content[index]) }
    let stored = WallTime(milliseconds: TimeSpan.seconds(Int64(clamping: seconds)).milliseconds)
    let age = TimeSpan.milliseconds(stored.milliseconds - buildTime.milliseconds)
    guard age > .zero, age <= ClockFloor.storedAfterBuildMax else { return }
    floor = stored
  }

  private mutating func beginStoring<H: HostClock & HostStorage & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    nextStore = isEnding ? .never : now + ClockFloor.storeInterval
    guard let proof else { return }
    // Counted on the clock that cannot jump, and not ahead of the other, which may have been corrected since.
    var time = WallTime(milliseconds: proof.time.milliseconds + max(0, (now - proof.now).milliseconds))
    if let system = wallTime(&host) { time = min(time, system) }
    guard time > floor else { return }
    content.removeAll()
    let seconds = UInt64(time.milliseconds / 1000)
    for shift in 0..<8 { content.append(UInt8(truncatingIfNeeded: seconds >> UInt64(56 - 8 * shift))) }
    work = .storing
    store(&log, &host)
  }

  private mutating func store<H: HostStorage & HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    let answer = host.replaceRecord(.clock, content.span)
    guard answer != .pending else { return }
    work = .none
    // That nothing can be kept here is how some boards are built.
    let hasFailed = answer != .done && answer != .readOnly
    if hasFailed, !isFailing { logAnswer(answer, "clock not-stored", &log, &host) }
    isFailing = hasFailed
  }
}

private func logAnswer<H: HostLog & ~Copyable>(
  _ answer: StorageAnswer, _ event: StaticString, _ log: inout LogWriter, _ host: inout H
) {
  log.write(.warning, event, "reason", answer.name, to: &host)
}
