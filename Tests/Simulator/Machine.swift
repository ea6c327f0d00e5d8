// The machine under the agent: clocks, sensors, programs and the log.

import Bytes
import HostInterface
import Storage
import TestSupport

/// How a simulated sensor behaves.
public enum SensorBehaviour: Sendable {
  /// Counts its readings from 1 and never fails: what arrives can be told apart.
  case counter
  /// Fails, talks nonsense and comes back.
  case faulty
  /// Often needs time, sometimes too much.
  case slow
  /// Text, at times too long.
  case wordy
  /// Never has a value.
  case broken
  /// Has something to say now and then, without being asked.
  case telling
}

/// A reading of a counter that the agent was given.
struct CounterReading {
  let time: Instant
}

/// A moment at which the agent asked for the time of day.
struct WallReading {
  let time: Instant
  let wall: WallTime?
}

/// A program that a command started.
final class SimulatedProgram {
  let command: Int
  let input: [UInt8]
  let started: Instant
  var behaviour: ProgramBehaviour
  /// What it has written and nobody has collected.
  var pendingOutput: [UInt8] = []
  var end: ProgramState?
  var politeStop: Instant?
  var forcedStop: Instant?

  init(command: Int, input: [UInt8], started: Instant, behaviour: ProgramBehaviour) {
    self.command = command
    self.input = input
    self.started = started
    self.behaviour = behaviour
  }
}

/// What a program does.
enum ProgramBehaviour: CaseIterable {
  /// Echoes its input and ends well.
  case echo
  /// Ends with a status.
  case fail
  /// Ends by a signal of its own.
  case crash
  /// Writes far more than is kept.
  case noisy
  /// Never ends, but heeds the polite signal.
  case hang
  /// Heeds nothing but force.
  case stubborn
}

/// What a program does that acts upon the whole machine.
public enum ActionBehaviour: Equatable, Sendable {
  /// The machine goes down after so many milliseconds.
  case restarts(after: Int64)
  /// It ends with this status, and the machine goes on.
  case ends(Int)
  /// It cannot even be started.
  case cannotStart
  /// It never ends.
  case hangs
}

/// Clocks, sensors, programs and log of the simulated machine.
final class Machine {
  let world: World
  private var dice: Dice
  private let sensors: [SensorBehaviour]
  let commandTimeouts: [TimeSpan]

  // Time of day.
  private static let bootTime: Int64 = 1_700_000_000_000
  private var wallOffset = Machine.bootTime
  var isWallKnown = true
  private(set) var wallReadings: [WallReading] = []

  // Sensors.
  private(set) var counterReadings: [[CounterReading]]
  private var slowReady: [Instant?]
  /// When the readings of slow sensors end that are under way, of which there is room for a single one at a time.
  private var slowReadsEnd = Instant(milliseconds: 0)
  private var slowAsked: [Instant]
  private var isFailing: [Bool]

  /// Telling sensors that have not been asked since they told, and how often each has told.
  private var telling: [Int] = []
  private(set) var toldCount: [Int: Int] = [:]

  // Outputs and power.
  private(set) var outputs: [Int: Int] = [:]
  private(set) var rebootCount = 0
  var lastStart = LastStart.power
  /// Which run of the machine this is.
  private(set) var run: UInt64 = 1
  /// Whether it is on its way down.
  private(set) var isGoingDown = false
  /// By program; one that is not named restarts the machine.
  var actionBehaviours: [String: ActionBehaviour] = [:]
  /// How patient the service manager is, and what it was told.
  var patience = TimeSpan.zero
  var told: [ManagerNews] = []
  /// The hardware's watchdog while it is open, when it was fed, and until when somebody else has it.
  private var watchdogTimeout: TimeSpan?
  private var watchdogFed = Instant(milliseconds: 0)
  private var watchdogRefusedUntil = Instant(milliseconds: 20_000)
  /// Whether an agent may stop it.
  var mayDisarm = true
  /// Whether an action has a chance.
  var mayAct = true
  /// What the file says about where it is.
  var location: [UInt8]?
  /// The programs that were started upon the machine, and in which run.
  private(set) var actionStarts: [(program: String, run: UInt64)] = []
  /// How the one that runs has ended.
  private var actionEnd: ProgramState?
  private var isActing = false

  // Programs.
  private var slots: [SimulatedProgram?]
  private(set) var programs: [SimulatedProgram] = []

  // Log.
  private(set) var logCounts: [String: Int] = [:]
  private(set) var lastLogLines: [String: String] = [:]
  private(set) var logLineCount = 0
  /// What must never be logged.
  var secret: [UInt8] = []
  /// Is told how the agent understood what happened.
  var attempts: AttemptLog?
  /// When the machine last woke from suspend: nothing could be done before.
  var awakeFrom = Instant(milliseconds: 0)

  /// Whoever comes to the control socket.
  let localPrograms: LocalPrograms

  init(world: World, sensors: [SensorBehaviour], commandTimeouts: [TimeSpan]) {
    self.world = world
    localPrograms = LocalPrograms(world: world)
    self.sensors = sensors
    self.commandTimeouts = commandTimeouts
    dice = Dice(seed: world.seed, colour: 3)
    counterReadings = sensors.map { _ in [] }
    slowReady = sensors.map { _ in nil }
    slowAsked = sensors.map { _ in Instant(milliseconds: 0) }
    isFailing = sensors.map { _ in false }
    slots = Array(repeating: nil, count: HostLimits.programsMax)
  }

  // MARK: Time

  /// When the agent's program was built.
  static let buildTime = WallTime(milliseconds: 1_690_000_000_000)
  /// From when on the server's certificate is valid.
  static let certificateStart = WallTime(milliseconds: 1_695_000_000_000)

  /// The time of day: a machine that does not know it counts from 1970.
  func systemTime() -> WallTime {
    let time = WallTime(milliseconds: (isWallKnown ? wallOffset : 0) + world.now.milliseconds)
    let wall = time < storedTime ?? Machine.buildTime ? nil : time
    if wallReadings.last?.time != world.now || wallReadings.last?.wall != wall {
      wallReadings.append(WallReading(time: world.now, wall: wall))
    }
    return time
  }

  /// A time that the agent has from its storage, until it has given that up. No certificate is as young.
  var storedTime: WallTime?
  var saysSynchronised = true
  /// By when the server's certificate has expired where the agent has a wrong time stored.
  static let certificateEnd = WallTime(milliseconds: 1_800_000_000_000)

  /// Whoever keeps the clock right knows it: then it is.
  var isTimeSynchronised: Bool { saysSynchronised && isWallKnown && abs(wallOffset - Machine.bootTime) < 1000 }

  /// Stores a time as earlier versions did, whatever the clock said.
  func store(yearsAhead: Int, on disk: SimulatedDisk) {
    let seconds = Machine.bootTime / 1000 + Int64(yearsAhead) * 365 * 86_400
    let content = (0..<8).map { UInt8(truncatingIfNeeded: seconds >> Int64(56 - 8 * $0)) }
    var disk = disk
    if replaceRecord(.clock, content.span, on: &disk) != .done { world.violate("the disk takes nothing") }
    storedTime = WallTime(milliseconds: seconds * 1000)
  }

  /// What is stored for the next start must have come, whatever the clock says.
  func checkStored(_ content: Span<UInt8>) {
    var seconds: Int64 = 0
    for index in 0..<min(content.count, 8) { seconds = seconds << 8 | Int64(content[index]) }
    if isTimeSynchronised { world.mark("clock-stored") }
    if seconds * 1000 > Machine.bootTime + world.now.milliseconds + 1000 {
      world.violate("a time is stored that has not come")
    }
  }

  func setWallClockRight() { wallOffset = Machine.bootTime }

  func stepWallClock(by span: TimeSpan) {
    world.mark("clock-step")
    wallOffset += span.milliseconds
  }

  // MARK: Sensors

  func read(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead {
    guard sensors.indices.contains(index) else {
      world.violate("host: there is no source \(index)")
      return .failed(.notFound)
    }
    switch sensors[index] {
    case .counter:
      counterReadings[index].append(CounterReading(time: world.now))
      append(String(counterReadings[index].count) + "\n", to: &buffer)
      return .complete(exponent: 0)
    case .faulty: return readFaulty(index, into: &buffer)
    case .slow: return readSlow(index, into: &buffer)
    case .broken: return .failed(.inputOutput)
    case .telling:
      append("\(toldCount[index] ?? 0)", to: &buffer)
      return .complete(exponent: 0)
    case .wordy:
      append(String(repeating: "mäuse ", count: dice.once(in: 10) ? 600 : 2), to: &buffer)
      return .complete(exponent: 0)
    }
  }

  private func readFaulty(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead {
    if dice.once(in: 20) { isFailing[index].toggle() }
    if isFailing[index] {
      switch dice.number(0...5) {
      case 0: return .failed(.notFound)
      case 1: return .failed(.notPermitted)
      case 2: return .failed(.inputOutput)
      case 3:
        append("rubbish without a digit", to: &buffer)
        return .complete(exponent: 0)
      case 4:
        append(String(repeating: "x", count: HostLimits.sourceBytesMax), to: &buffer)
        return .complete(exponent: 0)
      default: return .complete(exponent: 0)  // nothing at all
      }
    }
    append("\(dice.number(-1000...1000)).\(dice.number(0...999))\n", to: &buffer)
    return .complete(exponent: 0)
  }

  /// A telling sensor tells.
  func tell(_ index: Int) {
    toldCount[index, default: 0] += 1
    if !telling.contains(index) { telling.append(index) }
    world.hasNews = true
  }

  func nextTellingSource() -> Int? { telling.isEmpty ? nil : telling.removeFirst() }

  // MARK: Outputs and power

  /// Sets one of as many outputs as there are sensors; the last one is somebody else's.
  func setOutput(_ index: Int, to value: Int) -> OutputAnswer {
    guard sensors.indices.contains(index) else { return .notFound }
    guard index < sensors.count - 1 else { return .busy }
    outputs[index] = value
    return .done
  }

  // MARK: Watchdog

  /// It grants less than it is asked for, as real ones do.
  func openWatchdog(_ seconds: Int) -> WatchdogAnswer {
    if world.now >= watchdogRefusedUntil, watchdogTimeout == nil {
      watchdogTimeout = .seconds(Int64(seconds - 4))
      watchdogFed = world.now
      world.mark("watchdog-armed")
      return .armed(seconds: seconds - 4)
    }
    world.mark("watchdog-busy")
    return .busy
  }

  func feedWatchdog() -> Bool {
    guard let timeout = watchdogTimeout else { return false }
    if world.now - watchdogFed > timeout {
      world.violate("the watchdog was not fed for \((world.now - watchdogFed).milliseconds) ms")
    }
    if (world.now - watchdogFed).milliseconds * 5 < timeout.milliseconds {
      world.violate("the watchdog was fed after \((world.now - watchdogFed).milliseconds) ms")
    }
    watchdogFed = world.now
    world.mark("watchdog-fed")
    guard dice.number(0...499) == 0 else { return true }
    world.mark("watchdog-unfed")
    return false
  }

  /// The agent that had it is gone.
  func forgetWatchdog() { watchdogTimeout = nil }

  func closeWatchdog(isDisarmed: Bool) {
    if isDisarmed, !mayDisarm { world.violate("the watchdog was stopped") }
    watchdogTimeout = nil
    watchdogRefusedUntil = world.now + .milliseconds(Int64(dice.number(0...60_000)))
  }

  func reboot() -> RebootAnswer {
    rebootCount += 1
    lastStart = .request
    goDown()
    return .accepted
  }

  private func goDown() {
    isGoingDown = true
    world.hasNews = true
  }

  /// The machine has been without power, and is back.
  func restart(_ cause: LastStart) {
    run += 1
    lastStart = cause
    (isGoingDown, isActing, actionEnd) = (false, false, nil)
    slots = slots.map { _ in nil }
  }

  /// Starts a program upon the whole machine.
  func startAction(_ program: String) -> Bool {
    if isActing { world.violate("host: two actions at a time") }
    let behaviour = actionBehaviours[program] ?? .restarts(after: 500)
    guard behaviour != .cannotStart else { return false }
    actionStarts.append((program, run))
    isActing = true
    actionEnd = nil
    let run = run
    switch behaviour {
    case .restarts(let delay):
      world.after(.milliseconds(delay)) { [self] in
        if self.run == run { goDown() }
      }
    case .ends(let status):
      world.after(.milliseconds(700)) { [self] in
        guard self.run == run, isActing else { return }
        actionEnd = .exited(status)
        world.hasNews = true
      }
    case .hangs, .cannotStart: break
    }
    return true
  }

  /// The agent that started it is gone.
  func forgetAction() { (isActing, actionEnd) = (false, nil) }

  func pollAction() -> ProgramState {
    if !isActing { world.violate("host: no action to ask about") }
    guard let end = actionEnd else { return .running }
    isActing = false
    return end
  }

  func stopAction() {
    if !isActing { world.violate("host: no action to stop") }
    actionEnd = .signalled(9)
    world.hasNews = true
  }

  /// Begins to read a slow source; others need no preparation.
  func prepare(_ index: Int) -> Bool {
    guard sensors.indices.contains(index) else {
      world.violate("host: there is no source \(index)")
      return true
    }
    guard case .slow = sensors[index] else { return true }
    if let ready = slowReady[index] { return world.now >= ready }
    guard canPrepareMore else {
      world.mark("sensor-without-room")
      return false
    }
    let delay = dice.once(in: 6) ? dice.spanOfAnyMagnitude(6000...600_000) : dice.spanOfAnyMagnitude(0...4000)
    world.mark(delay > .seconds(5) ? "sensor-too-slow" : "sensor-slow")
    slowReady[index] = world.now + delay
    slowAsked[index] = world.now
    if delay == .zero { return true }
    let end = min(delay, .seconds(Int64(Scenario.sourceTimeoutSeconds)))
    slowReadsEnd = world.now + end
    for moment in [end, delay] { world.after(moment) { [world] in world.hasNews = true } }
    return false
  }

  var canPrepareMore: Bool { slowReadsEnd <= world.now }
  /// How long ago a slow source was asked for what it says next.
  func age(_ index: Int, at now: Instant) -> TimeSpan { slowReady[index] == nil ? .zero : now - slowAsked[index] }

  private func readSlow(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead {
    guard prepare(index) else { return .pending }
    if world.now - slowAsked[index] > .seconds(5) { world.mark("sensor-late") }
    slowReady[index] = nil
    append("17", to: &buffer)
    return .complete(exponent: 0)
  }

  private func append(_ text: String, to buffer: inout ByteBuffer) {
    let room = min(buffer.freeCount, HostLimits.sourceBytesMax)
    let bytes = Array(text.utf8.prefix(room))
    buffer.append(bytes.span)
  }

  // MARK: Programs

  func start(slot: Int, command: Int, input: [UInt8]) -> ProgramStart {
    guard slots.indices.contains(slot), commandTimeouts.indices.contains(command) else {
      world.violate("host: slot \(slot) or command \(command) does not exist")
      return .noResources
    }
    if slots[slot] != nil { world.violate("host: slot \(slot) is in use") }
    if dice.once(in: 12) {
      world.mark("program-not-executable")
      return .notExecutable
    }
    if dice.once(in: 12) {
      world.mark("program-no-resources")
      return .noResources
    }
    if dice.once(in: 12) {
      world.mark("program-not-started")
      let program = SimulatedProgram(command: command, input: input, started: world.now, behaviour: .hang)
      slots[slot] = program
      finish(program, after: dice.span(0...2000), .notStarted(dice.pick([.notExecutable, .noResources])), writing: [])
      return .started
    }
    let behaviour = dice.pick(ProgramBehaviour.allCases)
    let program = SimulatedProgram(command: command, input: input, started: world.now, behaviour: behaviour)
    slots[slot] = program
    programs.append(program)
    world.mark("program-\(behaviour)")
    if slots.allSatisfy({ $0 != nil }) { world.mark("program-slots-full") }
    run(program)
    return .started
  }

  private func run(_ program: SimulatedProgram) {
    let life = dice.spanOfAnyMagnitude(0...9000)
    switch program.behaviour {
    case .echo: finish(program, after: life, .exited(0), writing: program.input)
    case .fail: finish(program, after: life, .exited(dice.number(1...255)), writing: Array("no\n".utf8))
    case .crash: finish(program, after: life, .signalled(11), writing: [])
    case .noisy:
      for turn in 0..<8 {
        world.after(.milliseconds(Int64(turn) * 100)) { [world] in
          program.pendingOutput += [UInt8](repeating: UInt8(ascii: "\u{1}"), count: 1000)
          world.hasNews = true
        }
      }
      finish(program, after: .milliseconds(900), .exited(0), writing: program.input)
    case .hang, .stubborn: break
    }
  }

  private func finish(
    _ program: SimulatedProgram, after delay: TimeSpan, _ end: ProgramState, writing output: [UInt8]
  ) {
    world.after(delay) { [world] in
      guard program.end == nil else { return }
      program.pendingOutput += output
      program.end = end
      world.hasNews = true
    }
  }

  func poll(slot: Int, output: inout ByteBuffer) -> ProgramState {
    guard slots.indices.contains(slot), let program = slots[slot] else {
      world.violate("host: no program runs in slot \(slot)")
      return .exited(0)
    }
    let kept = Array(program.pendingOutput.prefix(output.freeCount))
    output.append(kept.span)
    program.pendingOutput = []
    guard let end = program.end else {
      checkTimeLimit(program)
      return .running
    }
    slots[slot] = nil
    return end
  }

  private func checkTimeLimit(_ program: SimulatedProgram) {
    let limit = max(program.started + commandTimeouts[program.command], awakeFrom) + .seconds(1)
    if world.now > limit, program.politeStop == nil { world.violate("a program runs past its time limit") }
    if let politeStop = program.politeStop, program.forcedStop == nil,
      world.now > max(politeStop, awakeFrom) + .seconds(10)
    {
      world.violate("a program that heeds no signal is left running")
    }
  }

  func stop(slot: Int, forcibly: Bool) {
    guard slots.indices.contains(slot), let program = slots[slot] else {
      return world.violate("host: no program to stop in slot \(slot)")
    }
    if forcibly { program.forcedStop = world.now } else { program.politeStop = world.now }
    if program.behaviour != .stubborn || forcibly {
      finish(program, after: dice.span(0...200), .signalled(forcibly ? 9 : 15), writing: [])
    }
  }

  /// How many programs have neither ended nor been killed.
  var runningCount: Int { slots.filter { $0 != nil && $0?.end == nil && $0?.forcedStop == nil }.count }

  // MARK: Log

  func log(_ level: LogLevel, _ line: Span<UInt8>) {
    let bytes = (0..<line.count).map { line[$0] }
    let text = String(decoding: bytes, as: UTF8.self)
    world.note("log: \(text)")
    logLineCount += 1
    let words = text.split(separator: " ", maxSplits: 3)
    if words.count < 3 || words[0] != level.name.description { world.violate("log line without its parts: \(text)") }
    if bytes.count > 768 || bytes.contains(where: { $0 < 0x20 }) { world.violate("log line that breaks: \(text)") }
    if !secret.isEmpty, text.contains(String(decoding: secret, as: UTF8.self)) { world.violate("secret in the log") }
    guard words.count >= 3 else { return }
    logCounts["\(words[1]) \(words[2])", default: 0] += 1
    lastLogLines["\(words[1]) \(words[2])"] = text
    if words[2] == "stored-time-given-up" {
      storedTime = nil
      world.mark(text.hasSuffix("=synchronised") ? "given-up-by-system" : "given-up-by-certificate")
    }
    attempts?.noteLog(words[1], words[2], words.count > 3 ? words[3] : "")
  }
}

/// The host that the agent sees.
struct SimulatedHost: Host {
  let world: World
  let network: Network
  let machine: Machine
  let attempts: AttemptLog
  let storage: SimulatedStorage
  let firmware: ImageFlash
  /// Where images come from; nil where nobody may ask for any.
  let images: ImageServer?

  init(
    world: World, network: Network, machine: Machine, attempts: AttemptLog, storage: SimulatedStorage,
    firmware: ImageFlash? = nil, images: ImageServer? = nil
  ) {
    self.world = world
    self.network = network
    self.machine = machine
    self.attempts = attempts
    self.storage = storage
    self.firmware = firmware ?? ImageFlash(world: world)
    self.images = images
  }

  mutating func now() -> Instant { world.now }
  mutating func systemTime() -> WallTime { machine.systemTime() }
  mutating func isTimeSynchronised() -> Bool { machine.isTimeSynchronised }

  mutating func openLink(
    _ slot: LinkSlot, to endpoint: borrowing LinkEndpoint, certificateTime: WallTime, deadline: Instant
  ) {
    if slot == .transfer, let images { return images.open() }
    if slot != .message { world.violate("host: a link that nobody needs is opened") }
    attempts.noteOpen(at: world.now)
    network.open(deadline: deadline, isExpired: certificateTime > Machine.certificateEnd && machine.storedTime != nil)
  }

  mutating func pollLink(_ slot: LinkSlot) -> LinkState {
    slot == .transfer ? images?.poll() ?? .closed : network.state
  }
  func checkedCertificateStart(_ slot: LinkSlot) -> WallTime? { Machine.certificateStart }
  mutating func send(_ bytes: Span<UInt8>, on slot: LinkSlot) -> LinkTransfer {
    if slot == .transfer, let images { return images.send(Array(bytes)) }
    return network.send(bytes)
  }

  mutating func receive(on slot: LinkSlot, into buffer: inout ByteBuffer) -> LinkTransfer {
    if slot == .transfer, let images { return images.receive(into: &buffer) }
    return network.receive(into: &buffer)
  }

  func mayReceive(on slot: LinkSlot) -> Bool {
    slot == .transfer ? images?.mayReceive ?? false : network.mayReceive
  }

  mutating func closeLink(_ slot: LinkSlot) {
    if slot == .transfer {
      images?.close()
      return
    }
    attempts.noteClose(at: world.now)
    network.close()
  }

  mutating func describeLink(_ slot: LinkSlot, into line: inout ByteBuffer) {
    line.append(" address=192.0.2.1")
  }

  // MARK: Storage

  mutating func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer {
    storage.readRecord(record, into: &buffer)
  }

  mutating func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer {
    if record == .clock { machine.checkStored(content) }
    return storage.replaceRecord(record, content)
  }

  mutating func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer {
    storage.appendToSegment(segment, at: offset, bytes, isFlushed: isFlushed)
  }

  mutating func readSegment(
    _ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer
  ) -> StorageAnswer { storage.readSegment(segment, at: offset, into: &buffer) }

  mutating func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer { storage.findSegments(of: series, from: number, &found) }

  mutating func deleteSegment(_ segment: StorageSegment) -> StorageAnswer { storage.deleteSegment(segment) }
  mutating func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer { storage.setSegmentAside(segment) }

  // MARK: Sensors and programs

  mutating func prepareSource(_ index: Int) -> Bool { machine.prepare(index) }
  var canPrepareMore: Bool { machine.canPrepareMore }
  func sourceAge(_ index: Int, at now: Instant) -> TimeSpan { machine.age(index, at: now) }
  mutating func nextTellingSource() -> Int? { machine.nextTellingSource() }

  mutating func readSource(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead {
    machine.read(index, into: &buffer)
  }

  mutating func startProgram(
    slot: Int, command: Int, input: Span<UInt8>, variables: Span<UInt8>
  ) -> ProgramStart {
    machine.start(slot: slot, command: command, input: (0..<input.count).map { input[$0] })
  }

  mutating func pollProgram(slot: Int, output: inout ByteBuffer) -> ProgramState {
    machine.poll(slot: slot, output: &output)
  }

  mutating func stopProgram(slot: Int, forcibly: Bool) { machine.stop(slot: slot, forcibly: forcibly) }
  mutating func writeLog(_ level: LogLevel, _ line: Span<UInt8>) { machine.log(level, line) }

  // MARK: Outputs and power

  mutating func setOutput(_ index: Int, to value: Int) -> OutputAnswer { machine.setOutput(index, to: value) }
  mutating func readLocation(_ path: Span<UInt8>, _ text: inout LocationText) -> Int? {
    guard let location = machine.location else { return nil }
    let count = min(location.count, LocationText.count)
    for index in 0..<count { text[index] = location[index] }
    return count
  }

  mutating func lastStart() -> LastStart { machine.lastStart }
  mutating func bootIdentifier() -> BootIdentifier { BootIdentifier(0, machine.run) }
  mutating func mayStartAction(_ program: Span<UInt8>) -> Bool { machine.mayAct }
  mutating func startAction(_ program: Span<UInt8>) -> Bool { machine.startAction(Array(program).text) }
  mutating func pollAction() -> ProgramState { machine.pollAction() }
  mutating func stopAction() { machine.stopAction() }
  mutating func reboot() -> RebootAnswer { machine.reboot() }
  func managerPatience() -> TimeSpan { machine.patience }
  mutating func tellManager(_ news: ManagerNews) { machine.told.append(news) }
  mutating func openWatchdog(_ device: Span<UInt8>, seconds: Int) -> WatchdogAnswer { machine.openWatchdog(seconds) }
  mutating func feedWatchdog() -> Bool { machine.feedWatchdog() }
  mutating func closeWatchdog(isDisarmed: Bool) { machine.closeWatchdog(isDisarmed: isDisarmed) }
}
