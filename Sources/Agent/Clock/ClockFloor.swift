// What time it is at least.
//
// A board without a battery starts in 1970, and then no certificate is valid yet. But time has certainly passed since
// this program was built, and since it last ran: the clock floor is the later of the two.
//
// What was stored is evidence, and evidence may be wrong: a clock that was years ahead, and a server with a long
// certificate, agree with each other. So the system's time is stored only where the system says that it is
// synchronised; otherwise it is what a certificate proves by its own dates. And what was stored is given up where the
// system is synchronised and says otherwise, or where the server's certificate has expired by the stored time alone and
// is good by the system's. No time before the build is ever believed.

import Bytes
import HostInterface

/// The clock floor: which times of day are believed, and which one is kept for the next start.
public struct ClockFloor: ~Copyable {
  /// How often the last known time is stored at most: flash wears out.
  static var storeInterval: TimeSpan { .minutes(60) }
  /// How often the system's clock is compared with what is known.
  static var lookInterval: TimeSpan { .seconds(10) }
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

  /// Who says that a time has passed. The number is stored behind the time.
  private enum Source: UInt8 {
    /// Earlier versions stored no more than the time.
    case unknown = 0
    /// A certificate that is valid from then on.
    case certificate = 1
    /// The system, which said that it is synchronised, and a certificate that was valid then.
    case synchronised = 2
    /// This program, which was built then. Never stored.
    case build = 3

    var name: StaticString {
      switch self {
      case .unknown: "unknown"
      case .certificate: "certificate"
      case .synchronised: "synchronised"
      case .build: "build"
      }
    }
  }

  /// A moment on both clocks: this time of day has come by then.
  private struct Proof {
    let now: Instant
    let time: WallTime
    let source: Source
  }

  private let pinned = Pinned()
  private let buildTime: WallTime
  private var floor: WallTime
  private var floorSource = Source.build
  private let patienceEnd: Instant
  private var work = Work.reading
  /// What the record has, or will have: seconds since 1970, eight bytes, most significant first, and their source.
  private var content: ByteBuffer
  private var proof: Proof?
  private var nextLook = Instant(milliseconds: .min)
  private var nextStore = Instant(milliseconds: .min)
  private var isEnding = false
  /// Whether the last attempt to store failed: a lasting fault is logged once.
  private var isFailing = false
  /// Whether the system's time is earlier than what is known, which is logged once.
  private var isDisbelieved = false
  /// Whether a server's certificate has expired by the floor: the next one is checked against the system's time.
  private var isDoubted = false
  /// Whether the record has a time that was given up, and must be replaced by an earlier one.
  private var isRecordWrong = false
  /// Whether the last certificate was checked against the system's time although the floor is later.
  private var wasFloorPassedOver = false

  /// Starts with the time at which the program was built.
  public init(buildTime: WallTime, now: Instant, from arena: inout Arena) throws(ArenaExhausted) {
    self.init(buildTime: buildTime, now: now, in: &arena)
    try arena.check()
  }

  /// The same; see `Arena.check`.
  init(buildTime: WallTime, now: Instant, in arena: inout Arena) {
    content = ByteBuffer(capacity: StorageRecord.clock.roomNeeded, for: "clock", in: &arena)
    self.buildTime = buildTime
    floor = buildTime
    patienceEnd = now + ClockFloor.readPatience
  }

  // MARK: Asking

  /// Whether what was stored is known, or not worth waiting for any longer.
  @inline(__always)
  public func isSettled(at now: Instant) -> Bool {
    if case .reading = work { return now >= patienceEnd }
    return true
  }

  /// UTC; nil while the system's clock is earlier than the floor, so wrong.
  @inline(__always)
  func wallTime<H: HostClock & ~Copyable>(_ host: inout H) -> WallTime? {
    let time = host.systemTime()
    return time < floor ? nil : time
  }

  /// The time to check the next certificate against: the system's, or the floor where that is later and not in doubt.
  mutating func beginCheck<H: HostClock & ~Copyable>(_ host: inout H) -> WallTime {
    let system = host.systemTime()
    wasFloorPassedOver = isDoubted && system >= buildTime && system < floor
    return wasFloorPassedOver ? system : max(system, floor)
  }

  /// The same for a link from whose certificate nothing is concluded.
  func certificateTime<H: HostClock & ~Copyable>(_ host: inout H) -> WallTime {
    let system = host.systemTime()
    return isDoubted && system >= buildTime ? system : max(system, floor)
  }

  // MARK: Remembering

  /// A certificate that is valid from `start` on was checked against the time of the last `beginCheck`, and is good.
  @inline(never)  // small code, as it is rare
  mutating func noteProven<H: HostClock & HostLog & ~Copyable>(
    by start: WallTime, at now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    if wasFloorPassedOver { giveUpStored(by: .certificate, &log, &host) }
    isDoubted = false
    nextLook = now
    proof = Proof(now: now, time: start, source: .certificate)
    guard host.isTimeSynchronised() else { return }
    proof = Proof(now: now, time: host.systemTime(), source: .synchronised)
  }

  /// A link failed. A certificate that has expired says that the floor may be wrong, one that is not valid yet that it
  /// is not.
  mutating func noteFailure(_ failure: LinkFailure) {
    if failure == .tlsExpired { isDoubted = true }
    if failure == .tlsNotYetValid { isDoubted = false }
  }

  /// The agent is about to end: what is known is stored at once.
  mutating func prepareEnd(_ now: Instant) {
    guard !isEnding else { return }
    isEnding = true
    nextStore = now
    nextLook = now
  }

  /// Whether the end need not wait for the storage.
  var isReadyToEnd: Bool {
    if case .storing = work { return false }
    return true
  }

  /// When there is something to do that cannot wait for the next wake-up: nobody is woken to store a time.
  public func deadline(_ now: Instant) -> Instant? { isSettled(at: now) ? nil : patienceEnd }

  /// Reads what was stored, at first; later compares the clocks now and then, and stores the last known time when that
  /// is due.
  @inline(__always)
  mutating func advance<H: HostClock & HostStorage & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    if case .none = work, now < nextLook || isAsKnown(now, &host) { return }
    work(now, &log, &host)
  }

  /// The look at the clocks that finds nothing to do, as nearly all do: what else there is need not be resident for it.
  private mutating func isAsKnown<H: HostClock & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    guard proof == nil || now < nextStore else { return false }
    let system = host.systemTime()
    guard system < floor ? isDisbelieved && system < buildTime : !isDisbelieved else { return false }
    nextLook = now + ClockFloor.lookInterval
    return true
  }

  @inline(never)
  private mutating func work<H: HostClock & HostStorage & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    look(now, &log, &host)
    guard isSettled(at: now) else { return }
    if case .none = work, proof != nil, now >= nextStore { beginStoring(now, &log, &host) }
  }

  /// The same without beginning to store anything.
  @inline(never)
  public mutating func look<H: HostClock & HostStorage & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch work {
    case .none: break
    case .reading: read(&log, &host)
    case .storing: store(&log, &host)
    }
    guard isSettled(at: now) else { return }
    nextLook = now + ClockFloor.lookInterval
    compare(now, &log, &host)
  }

  /// Whether the system's time or what was stored is not believed.
  public var hasDoubts: Bool { isDisbelieved || isRecordWrong }

  // MARK: Doubting

  /// Compares the system's time with what is known.
  private mutating func compare<H: HostClock & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let system = host.systemTime()
    let isEarlier = system < floor
    if isEarlier, system >= buildTime, host.isTimeSynchronised() {
      giveUpStored(by: .synchronised, &log, &host)
      proof = Proof(now: now, time: system, source: .synchronised)
    } else if isEarlier != isDisbelieved {
      isDisbelieved = isEarlier
      logBelief(system, &log, &host)
    }
  }

  private func logBelief<H: HostLog & ~Copyable>(_ system: WallTime, _ log: inout LogWriter, _ host: inout H) {
    if isDisbelieved { log.begin(.warning, "clock disbelieved") } else { log.begin(.info, "clock believed") }
    log.add("time", system)
    if isDisbelieved {
      log.add("earlier-than", floor)
      log.add("known-by", floorSource.name)
      log.add("hint", text: (floorSource == .build ? setHint : storedHint).bytes)
    }
    log.end(to: &host)
  }

  /// What was stored is not believed any more.
  private mutating func giveUpStored<H: HostClock & HostLog & ~Copyable>(
    by source: Source, _ log: inout LogWriter, _ host: inout H
  ) {
    log.begin(.warning, "clock stored-time-given-up")
    log.add("stored", floor)
    log.add("known-by", floorSource.name)
    log.add("time", host.systemTime())
    log.add("proven-by", source.name)
    log.end(to: &host)
    floor = buildTime
    floorSource = .build
    isDisbelieved = false
    isRecordWrong = true
    nextStore = Instant(milliseconds: .min)
  }

  // MARK: The record

  private mutating func read<H: HostStorage & HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    let answer = host.readRecord(.clock, into: &content)
    guard answer != .pending else { return }
    work = .none
    switch answer {
    case .done: adoptStored()
    case .damaged, .failed: logAnswer(answer, "clock not-read", &log, &host)
    case .pending, .notFound, .noSpace, .readOnly, .inUse: break
    }
  }

  private mutating func adoptStored() {
    guard content.count == 8 || content.count == 9 else { return }
    let source = content.count == 9 ? Source(rawValue: content[8]) : .unknown
    guard let source, source != .build else { return }
    let stored = WallTime(milliseconds: TimeSpan.seconds(Int64(clamping: content.bigEndian(at: 0))).milliseconds)
    let age = TimeSpan.milliseconds(stored.milliseconds - buildTime.milliseconds)
    guard age > .zero, age <= ClockFloor.storedAfterBuildMax else { return }
    floor = stored
    floorSource = source
  }

  private mutating func beginStoring<H: HostClock & HostStorage & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    nextStore = isEnding ? .never : now + ClockFloor.storeInterval
    guard let proof else { return }
    // Counted on the clock that cannot jump, and not ahead of the other, which may have been corrected since.
    var time = WallTime(milliseconds: proof.time.milliseconds + max(0, (now - proof.now).milliseconds))
    if let system = wallTime(&host) { time = min(time, system) }
    guard time > floor || isRecordWrong else { return }
    isRecordWrong = false
    content.removeAll()
    let seconds = UInt64(max(time, buildTime).milliseconds / 1000)
    content.append(word: seconds.byteSwapped, byteCount: 8)
    content.append(proof.source.rawValue)
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

private let setHint: StaticString = "set the clock"
private let storedHint: StaticString = "set the clock, or remove /var/lib/mote/clock-floor if it is right"

private func logAnswer<H: HostLog & ~Copyable>(
  _ answer: StorageAnswer, _ event: StaticString, _ log: inout LogWriter, _ host: inout H
) {
  log.write(.warning, event, "reason", answer.name, to: &host)
}
