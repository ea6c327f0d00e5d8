// A host for tests of single parts: it says what the test tells it to say, and notes what it was asked for.

import Bytes
import HostInterface
import TestSupport

/// A host without a world behind it. What a test does not set is calm: nothing comes, everything is there at once.
struct ScriptedHost: Host {
  // Time.
  var time = Instant(milliseconds: 1000)
  var wall = WallTime(milliseconds: 1_800_000_000_000)
  var isSynchronised = false

  // Links.
  var linkStates: [LinkState] = []
  var certificateStart: WallTime?
  var inbox: [UInt8] = []
  var linkEnd: LinkFailure?
  var takesOutput = true
  private(set) var sent: [UInt8] = []
  private(set) var opened: [OpenedLink] = []
  private(set) var closeCount = 0

  // Storage.
  var storedClock: [UInt8]?
  var readAnswer: StorageAnswer?
  var storeAnswers: [StorageAnswer] = []
  private(set) var stored: [[UInt8]] = []
  /// The record of the firmware.
  var firmwareRecord: [UInt8]?

  /// What the file says about where it is, and how often it was read.
  var location: String?
  private(set) var locationReads = 0

  // Sensors.
  var texts: [Int: String] = [:]
  var exponents: [Int: Int] = [:]
  /// When the answers that wait were asked for.
  var askedAt: [Int: Instant] = [:]
  var slowSources: Set<Int> = []
  /// How many slow sources it reads at once.
  var readersMax = Int.max
  private(set) var slowReads: Set<Int> = []
  private(set) var prepareCount = 0
  var tellingSources: [Int] = []
  private(set) var reads: [Int] = []

  // Programs.
  var programStart = ProgramStart.started
  var programStates: [Int: ProgramState] = [:]
  var programOutput: [UInt8] = []
  private(set) var started: [StartedProgram] = []
  private(set) var stops: [StoppedProgram] = []

  // Power.
  var run: UInt64 = 1
  var mayAct = true
  var actionStart = true
  var actionState = ProgramState.running
  private(set) var actions: [String] = []
  private(set) var actionStops = 0
  var rebootAnswer = RebootAnswer.accepted
  private(set) var rebootCount = 0

  // Watchdogs.
  var patience = TimeSpan.zero
  private(set) var told: [ManagerNews] = []
  var watchdogAnswer = WatchdogAnswer.armed(seconds: 30)
  var takesFood = true
  /// What was done to the hardware's watchdog, and when.
  private(set) var watchdogCalls: [String] = []

  // Control.
  var hasControlNews = false
  /// What clients say that wait for their place.
  var arrivals: [ScriptedClient] = []
  private var hasArrivals = false
  private(set) var client: ScriptedClient?
  private(set) var departed: [ScriptedClient] = []

  // Firmware.
  var firmware = ScriptedFirmware()

  // Log.
  private(set) var lines: [String] = []

  /// What a link was opened to.
  struct OpenedLink: Equatable {
    let slot: LinkSlot
    let host: String
    let port: UInt16
    let security: LinkSecurity
    let certificateTime: WallTime
  }

  struct StartedProgram: Equatable {
    let slot: Int
    let command: Int
    let input: String
    var variables = ""
  }

  struct StoppedProgram: Equatable {
    let slot: Int
    let forcibly: Bool
  }

  mutating func now() -> Instant { time }
  mutating func systemTime() -> WallTime { wall }
  mutating func isTimeSynchronised() -> Bool { isSynchronised }
  mutating func writeLog(_ level: LogLevel, _ line: Span<UInt8>) { lines.append(Array(line).text) }

  // MARK: Links

  mutating func openLink(
    _ slot: LinkSlot, to endpoint: borrowing LinkEndpoint, certificateTime: WallTime, deadline: Instant
  ) {
    opened.append(
      OpenedLink(
        slot: slot, host: Array(endpoint.host).text, port: endpoint.port, security: endpoint.security,
        certificateTime: certificateTime))
  }

  mutating func pollLink(_ slot: LinkSlot) -> LinkState { linkStates.isEmpty ? .open : linkStates.removeFirst() }
  func checkedCertificateStart(_ slot: LinkSlot) -> WallTime? { certificateStart }

  mutating func send(_ bytes: Span<UInt8>, on slot: LinkSlot) -> LinkTransfer {
    guard takesOutput else { return .wouldBlock }
    sent += Array(bytes)
    return .moved(bytes.count)
  }

  mutating func receive(on slot: LinkSlot, into buffer: inout ByteBuffer) -> LinkTransfer {
    guard inbox.isEmpty else {
      let count = min(inbox.count, buffer.freeCount)
      let piece = Array(inbox.prefix(count))
      buffer.append(piece.span)
      inbox.removeFirst(count)
      return .moved(count)
    }
    guard let linkEnd else { return .wouldBlock }
    self.linkEnd = nil
    return .ended(linkEnd)
  }

  func mayReceive(on slot: LinkSlot) -> Bool { !inbox.isEmpty || linkEnd != nil }
  mutating func closeLink(_ slot: LinkSlot) { closeCount += 1 }
  mutating func describeLink(_ slot: LinkSlot, into line: inout ByteBuffer) { line.append(" tls=TLSv1.3") }

  /// Takes what was sent.
  mutating func takeSent() -> [UInt8] {
    defer { sent = [] }
    return sent
  }

  // MARK: Storage

  mutating func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer {
    if let readAnswer { return readAnswer }
    if record == .firmware {
      guard let firmwareRecord else { return .notFound }
      buffer.append(firmwareRecord.span)
      return .done
    }
    guard let storedClock else { return .notFound }
    buffer.append(storedClock.span)
    return .done
  }

  mutating func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer {
    let answer = storeAnswers.isEmpty ? .done : storeAnswers.removeFirst()
    if answer != .pending { stored.append(Array(content)) }
    if record == .firmware, answer == .done { firmwareRecord = Array(content) }
    return answer
  }

  mutating func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer { .readOnly }
  mutating func readSegment(
    _ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer
  ) -> StorageAnswer { .notFound }
  mutating func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer { .notFound }
  mutating func deleteSegment(_ segment: StorageSegment) -> StorageAnswer { .done }
  mutating func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer { .done }

  // MARK: Sensors

  mutating func prepareSource(_ index: Int) -> Bool {
    prepareCount += 1
    guard slowSources.contains(index) else { return true }
    if canPrepareMore { slowReads.insert(index) }
    return false
  }

  var canPrepareMore: Bool { slowReads.count < readersMax }

  /// A slow source that is being read has answered.
  mutating func answer(_ index: Int) {
    slowReads.remove(index)
    slowSources.remove(index)
  }

  mutating func readSource(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead {
    reads.append(index)
    guard !slowSources.contains(index) else { return .pending }
    guard let text = texts[index] else { return .failed(.notFound) }
    buffer.append(Array(text.utf8).span)
    return .complete(exponent: exponents[index] ?? 0)
  }

  func sourceAge(_ index: Int, at now: Instant) -> TimeSpan { askedAt[index].map { now - $0 } ?? .zero }

  mutating func nextTellingSource() -> Int? { tellingSources.isEmpty ? nil : tellingSources.removeFirst() }

  // MARK: Outputs

  /// `INDEX=VALUE` of each that was set, also in vain.
  var writes: [String] = []
  var outputAnswer = OutputAnswer.done

  mutating func setOutput(_ index: Int, to value: Int) -> OutputAnswer {
    writes.append("\(index)=\(value)")
    return outputAnswer
  }

  mutating func takeWrites() -> [String] {
    defer { writes = [] }
    return writes
  }

  // MARK: Programs

  mutating func startProgram(
    slot: Int, command: Int, input: Span<UInt8>, variables: Span<UInt8>
  ) -> ProgramStart {
    if programStart == .started {
      started.append(
        StartedProgram(slot: slot, command: command, input: Array(input).text, variables: Array(variables).text))
    }
    return programStart
  }

  mutating func pollProgram(slot: Int, output: inout ByteBuffer) -> ProgramState {
    let state = programStates[slot] ?? .running
    if state != .running { output.append(programOutput.span) }
    return state
  }

  mutating func stopProgram(slot: Int, forcibly: Bool) {
    stops.append(StoppedProgram(slot: slot, forcibly: forcibly))
  }

  // MARK: Location

  mutating func readLocation(_ path: Span<UInt8>, _ text: inout LocationText) -> Int? {
    locationReads += 1
    guard let location else { return nil }
    for (index, byte) in location.utf8.prefix(LocationText.count).enumerated() { text[index] = byte }
    return min(location.utf8.count, LocationText.count)
  }

  // MARK: Power

  mutating func lastStart() -> LastStart { .unknown }
  mutating func bootIdentifier() -> BootIdentifier { BootIdentifier(0, run) }
  mutating func mayStartAction(_ program: Span<UInt8>) -> Bool { mayAct }

  mutating func startAction(_ program: Span<UInt8>) -> Bool {
    if actionStart { actions.append(Array(program).text) }
    return actionStart
  }

  mutating func pollAction() -> ProgramState { actionState }
  mutating func stopAction() { actionStops += 1 }

  mutating func reboot() -> RebootAnswer {
    rebootCount += 1
    return rebootAnswer
  }

  // MARK: Watchdogs

  func managerPatience() -> TimeSpan { patience }
  mutating func tellManager(_ news: ManagerNews) { told.append(news) }

  mutating func openWatchdog(_ device: Span<UInt8>, seconds: Int) -> WatchdogAnswer {
    watchdogCalls.append("\(time.milliseconds) open \(Array(device).text) \(seconds)")
    return watchdogAnswer
  }

  mutating func feedWatchdog() -> Bool {
    watchdogCalls.append("\(time.milliseconds) feed")
    return takesFood
  }

  mutating func closeWatchdog(isDisarmed: Bool) {
    watchdogCalls.append("\(time.milliseconds) \(isDisarmed ? "disarm" : "close")")
  }

  mutating func takeWatchdogCalls() -> [String] {
    defer { watchdogCalls = [] }
    return watchdogCalls
  }

  // MARK: Control

  mutating func takeControlNews() -> Bool {
    defer { (hasControlNews, hasArrivals) = (false, false) }
    return hasArrivals
  }

  mutating func acceptControlClient() -> Bool {
    precondition(client == nil, "there is one client at a time")
    guard !arrivals.isEmpty else { return false }
    client = arrivals.removeFirst()
    if !arrivals.isEmpty { (hasControlNews, hasArrivals) = (true, true) }
    return true
  }

  mutating func receiveControl(into buffer: inout ByteBuffer) -> LinkTransfer {
    precondition(buffer.freeCount > 0, "there is no room")
    guard let said = client?.said, !said.isEmpty else {
      return client?.hasEnded == true ? .ended(.closedByPeer) : .wouldBlock
    }
    let piece = Array(said.prefix(min(buffer.freeCount, client?.pieceBytes ?? 1)))
    buffer.append(piece.span)
    client?.said.removeFirst(piece.count)
    return .moved(piece.count)
  }

  mutating func sendControl(_ bytes: Span<UInt8>) -> LinkTransfer {
    precondition(!bytes.isEmpty, "there is nothing to send")
    guard let takes = client?.takes, client?.isGone == false else { return .ended(.connectionLost) }
    guard takes > 0 else { return .wouldBlock }
    let count = min(bytes.count, takes)
    client?.heard += Array(bytes.extracting(0..<count))
    client?.takes -= count
    return .moved(count)
  }

  mutating func closeControl() {
    if let client { departed.append(client) }
    client = nil
  }

  mutating func ownProcess() -> OwnProcess { OwnProcess(identifier: 42, residentBytes: 123 * 1024) }
  func appendVersion(to buffer: inout ByteBuffer) { buffer.append("9.8.7") }

  /// The client says or does something.
  mutating func changeClient(_ body: (inout ScriptedClient) -> Void) {
    guard var client else { return }
    body(&client)
    self.client = client
    hasControlNews = true
  }

  mutating func arrive(_ client: ScriptedClient) {
    arrivals.append(client)
    (hasControlNews, hasArrivals) = (true, true)
  }
}

/// A client of the control socket.
struct ScriptedClient {
  /// What it has said and nobody has received, and in pieces of what size it comes.
  var said: [UInt8]
  var pieceBytes = Int.max
  /// Whether it says nothing more.
  var hasEnded = false
  /// Whether it has gone altogether.
  var isGone = false
  /// How much it still takes.
  var takes = Int.max / 2
  var heard: [UInt8] = []

  init(_ said: String) { self.said = Array(said.utf8) }

  var answer: String { heard.text }
}
