// Updates in a simulated world: the whole agent, a broker with a server behind it, a server of images, a supervisor,
// and a machine that loses its power where a test wants it to.

import Agent
import Bytes
import Firmware
import HostInterface
import TestSupport

/// Where something happens to the machine, once.
public enum FirmwareCut: Sendable {
  case never
  /// The power fails in front of the agent's turn with this number; what was sent before may still arrive.
  case beforeTurn(Int, arrives: Bool)
  /// The agent alone ends there, without a word, and is started again.
  case crashBeforeTurn(Int)
  /// The power fails in this call of the disk.
  case duringCall(Int)
  /// It fails in this operation upon images and slots, in front of its effect or behind it.
  case duringOperation(Int, behind: Bool)
}

/// One machine with an agent, through any number of restarts and versions of it.
public final class FirmwareSimulation {
  /// The world, for its violation.
  public let world: World
  private var scenario: Scenario
  private let network: Network
  private let broker: Broker
  private let machine: Machine
  private let server: FirmwareServer
  private let disk = SimulatedDisk()
  private let firmware: ImageFlash
  private let images: ImageServer
  private let fate: Fate
  private let cut: FirmwareCut
  private let keepsAll: Bool
  private let isOwn: Bool
  private let kind: BundleKind
  private var storage: SimulatedStorage
  private var host: SimulatedHost
  private var agent: Agent
  private var wake: Instant
  private var startsAt: Instant?
  private var trialEnd: Instant?
  private var isTrial = false
  private var callsBefore = 0
  private var cutAt: Int?
  /// How many turns the agent has taken.
  public private(set) var turnCount = 0
  /// Whether what was to happen has happened.
  public private(set) var wasCut = false
  /// How often a program was started that was on trial.
  public private(set) var trialCount = 0

  private static let bootTime = TimeSpan.seconds(20)

  /// Prepares a run with the installer `agent` or `command`.
  public init(
    seed: UInt64 = 1, installer: String, cleanSession: Bool = false, cut: FirmwareCut = .never,
    fate: Fate = Fate(seed: 1), keepsAll: Bool = false, isTracing: Bool = false, arena: inout Arena
  ) throws {
    var scenario = Scenario()
    scenario.events = [EventSpec("status", every: .seconds(60), qos: 1)]
    scenario.commands = []
    scenario.cleanSession = cleanSession
    scenario.connectDelaySeconds = 0
    scenario.management = "reboot = /sbin/restart\nfirmware-version = 1.4.0"
    isOwn = installer == "agent"
    kind = installer == "agent" ? .agent : installer == "partition" ? .slot : .file
    switch kind {
    case .agent: scenario.firmware = "installer = agent\nkey-file = /k\ncompatible = acme-e7"
    case .file: scenario.firmware = "installer = command\nrun = /sbin/install"
    case .slot:
      scenario.firmware =
        "installer = partition\nkey-file = /k\ncompatible = acme-e7\nrun = /sbin/slots\nslot-a = /a\nslot-b = /b"
    }
    // Ends of an agent are those of an update here: none of them may stop what watches its successor.
    scenario.firmware? += "\n[watchdog]\nstop-at-end = yes"
    self.scenario = scenario
    self.cut = cut
    self.fate = fate
    self.keepsAll = keepsAll
    world = World(seed: seed, start: AgentSimulation.start, isTracing: isTracing)
    var weather = Weather.calm
    weather.delay = 5...5
    network = Network(world: world, weather: weather)
    broker = Broker(world: world, network: network, expectations: BrokerExpectations(of: scenario))
    machine = Machine(world: world, sensors: scenario.sources.behaviours, commandTimeouts: [])
    machine.mayDisarm = false
    server = FirmwareServer(world: world, broker: broker)
    broker.observer = server
    firmware = ImageFlash(world: world)
    firmware.isPartition = kind == .slot
    if kind == .slot { firmware.running = .slotA }
    images = ImageServer(world: world)
    storage = SimulatedStorage(world: world, disk: disk, delays: .none)
    host = SimulatedHost(
      world: world, network: network, machine: machine,
      attempts: AttemptLog(world: world), storage: storage,
      firmware: firmware, images: images)
    agent = try Agent(
      plan: try makePlan(scenario, now: world.now, &arena), buildTime: Machine.buildTime, now: world.now, seed: seed,
      from: &arena)
    wake = world.now
  }

  // MARK: The course of things

  /// Lets `span` pass, through restarts.
  public func run(for span: TimeSpan, _ arena: inout Arena) throws {
    try run(until: world.now + span, { false }, &arena)
  }

  /// Lets time pass until all requests are over, and at most `span`.
  public func runToEnd(_ span: TimeSpan, _ arena: inout Arena) throws {
    try run(until: world.now + span, { self.isOver }, &arena)
  }

  private var isOver: Bool {
    guard startsAt == nil, agent.isOnline else { return false }
    switch server.requests.last?.step {
    case nil, .done, .failed: return true
    default: return false
    }
  }

  private func run(until end: Instant, _ isDone: () -> Bool, _ arena: inout Arena) throws {
    var turnsAtOnce = 0
    while world.violation == nil, world.now < end, !isDone() {
      if let startsAt, world.now >= startsAt { try boot(&arena) }
      if startsAt == nil, world.hasNews || world.now >= wake {
        world.hasNews = false
        step()
        turnsAtOnce += 1
        if turnsAtOnce > 400 { return world.violate("the agent spins") }
      }
      if startsAt == nil, machine.isGoingDown { powerFails(arrives: true, .request) }
      if startsAt == nil, agent.isEnded { agentEnded() }
      if startsAt == nil, let trialEnd, world.now >= trialEnd { trialTimedOut() }
      var next = startsAt ?? (world.hasNews ? world.now : wake)
      next = min(end, min(next, trialEnd ?? next))
      if let planned = world.timeline.next { next = min(next, planned) }
      if next > world.now {
        turnsAtOnce = 0
        world.now = next
      }
      while let action = world.timeline.take(upTo: world.now) { action() }
      if startsAt == nil, disk.isOff || firmware.isOff { powerFails(arrives: true, .power) }
    }
  }

  private func step() {
    turnCount += 1
    if case .beforeTurn(turnCount, let arrives) = cut, !wasCut { return powerFails(arrives: arrives, .power) }
    if case .crashBeforeTurn(turnCount) = cut, !wasCut {
      wasCut = true
      if isTrial { firmware.fail(.signalled) }
      startsAt = world.now + .seconds(1)
      return
    }
    if firmware.isTried("CRASHES"), agent.isOnline {
      startsAt = world.now + .seconds(1)
      return
    }
    wake = storage.endTurn(after: agent.step(&host), now: world.now)
    if isTrial, firmware.slots.trial == nil { (isTrial, trialEnd) = (false, nil) }
  }

  private func agentEnded() {
    guard let end = firmware.end else { return world.violate("the agent has ended by itself") }
    world.note("the agent ends: \(end)")
    if end == .trialFailed { firmware.fail(.wrong, isFinal: true) }
    startsAt = world.now + .seconds(1)
  }

  private func trialTimedOut() {
    world.note("the trial is over")
    firmware.fail(.timeout)
    startsAt = world.now
  }

  private func powerFails(arrives: Bool, _ cause: LastStart) {
    world.note("power fails: \(cause.name)")
    if cause == .power { wasCut = true }
    if let link = network.link, case .open = link.state, !arrives { link.carriesUp = false }
    network.close()
    images.close()
    callsBefore += disk.callCount
    disk.restart(cause == .request ? Fate() : fate)
    firmware.restart(keepsAll: keepsAll || cause == .request)
    planCut()
    machine.restart(cause)
    startsAt = world.now + FirmwareSimulation.bootTime
  }

  private func boot(_ arena: inout Arena) throws {
    network.close()
    images.close()
    machine.forgetAction()
    machine.forgetWatchdog()
    firmware.forget()
    (isTrial, trialEnd) = (false, nil)
    if isOwn {
      guard firmware.start() else {
        startsAt = world.now + .seconds(1)
        return
      }
      isTrial = firmware.running != nil && firmware.slots.trial == firmware.running
      if isTrial {
        trialCount += 1
        trialEnd = world.now + .seconds(Int64(firmware.slots.trialSeconds))
      }
    }
    startsAt = nil
    network.weather.openOutcomes = firmware.isTried("LONELY") ? [.failure(.connectionRefused)] : [.success]
    world.note("the agent starts, \(firmware.version), trial: \(isTrial)")
    if !isOwn { scenario.management = "reboot = /sbin/restart\nfirmware-version = \(firmware.version)" }
    storage = SimulatedStorage(world: world, disk: disk, delays: .none)
    host = SimulatedHost(
      world: world, network: network, machine: machine,
      attempts: AttemptLog(world: world), storage: storage,
      firmware: firmware, images: images)
    agent = try Agent(
      plan: try makePlan(scenario, now: world.now, &arena), buildTime: Machine.buildTime, now: world.now,
      seed: world.seed &+ UInt64(turnCount), from: &arena)
    wake = world.now
  }

  // MARK: The operator

  /// Has the power fail from now on, as was planned.
  public func begin() {
    if case .duringCall(let call) = cut { cutAt = callCount + call }
    if case .duringOperation(let number, let behind) = cut {
      firmware.cutAt = operationCount + number
      firmware.cutsBehind = behind
    }
    planCut()
  }

  private func planCut() {
    if let cutAt, !wasCut { disk.faults.cutAt = cutAt - callsBefore }
    if wasCut { firmware.cutAt = nil }
  }

  /// Puts an image on the server, as its installer wants it; gives the record that asks for it.
  public func offer(_ version: String, _ content: [UInt8], securityVersion: UInt32 = 0) -> String {
    let file =
      kind == .file
      ? content : makeBundle(content, version: version, securityVersion: securityVersion, kind: kind.rawValue)
    images.files["/\(version)"] = file
    let digest = standInDigest(file)
    let digits = (0..<32).map { String(digest[$0] >> 4, radix: 16) + String(digest[$0] & 15, radix: 16) }
    return "{\"version\":\"\(version)\",\"name\":\"n\",\"uri\":\"http://images.example:8080/\(version)\","
      + "\"verifier\":\"sha256:\(digits.joined())\",\"state\":0,\"updateStatus\":0,\"updatedDateTime\":\"\"}"
  }

  /// Asks for a download or an update.
  public func ask(for action: String, record: String? = nil) { server.begin(action, record: record) }

  /// The next answers of the server of images are cut behind so many bytes each.
  public func cutTransfers(_ bytes: [Int]) { images.cuts = bytes }

  /// What its next answers are like.
  public func serve(_ conducts: [ImageConduct]) { images.conducts = conducts }

  /// It sends each request to another address, which is good for one answer.
  public func serveFromMirrors() { images.hasMirrors = true }

  /// Why nobody can connect to it; nil for a server to which everybody can.
  public var imageLinkFailure: LinkFailure? {
    get { images.linkFailure }
    set { images.linkFailure = newValue }
  }

  /// How often it was asked.
  public var imageRequestCount: Int { images.requestCount }

  /// The status of all its answers; nil for what fits.
  public var imageStatus: Int? {
    get { images.status }
    set { images.status = newValue }
  }

  /// Faults of the disk from now on.
  public func damageDisk(_ change: (inout DiskFaults, Int) -> Void) { change(&disk.faults, disk.callCount) }

  /// Operations upon images that fail from now on: one, or all from one on.
  public func damageImages(_ number: Int, isLasting: Bool) {
    if isLasting {
      firmware.failingFrom = operationCount + number
    } else {
      firmware.failing[operationCount + number] = .failed
    }
  }

  /// No more faults.
  public func mend() {
    disk.faults = DiskFaults()
    (firmware.failing, firmware.failingFrom) = ([:], nil)
    breakTasks()
    firmware.ignoresTry = false
  }

  /// How the installer's program ends.
  public var installerStatus: Int {
    get { firmware.installerStatus }
    set { firmware.installerStatus = newValue }
  }

  /// Tasks of the program that speaks with the boot loader that fail, or that do nothing and say that all went well.
  public func breakTasks(failing: Set<InstallerTask> = [], idle: Set<InstallerTask> = []) {
    (firmware.failingTasks, firmware.idleTasks) = (failing, idle)
  }

  /// Whether the boot loader never starts the slot that is tried.
  public var ignoresTry: Bool {
    get { firmware.ignoresTry }
    set { firmware.ignoresTry = newValue }
  }

  /// Which slot is started when nobody says otherwise, and which one runs.
  public var bootSlots: (standard: FirmwarePlace, running: FirmwarePlace?) { (firmware.standard, firmware.running) }

  /// A copy of the slot record, or both, are torn.
  public func tearSlots(_ copies: [Int]) { for copy in copies { firmware.tear(copy) } }

  // MARK: Looking

  /// What happened, without what always happens.
  public var story: String {
    world.lastNotes(4000).filter { !$0.contains("pingreq") && !$0.contains("\"n0\"") && !$0.contains("puback") }
      .suffix(200).joined(separator: "\n")
  }

  /// What was asked for.
  public var requests: [FirmwareRequest] { server.requests }
  /// What the device has sent.
  public var wire: [String] { server.wire }
  /// The device's own faults that it told the server.
  public var errorCodes: [Int] { server.errorCodes }
  /// The version that the device told last.
  public var toldVersion: String { server.version }
  /// The state and status that it notified last.
  public var lastState: (state: Int, status: Int) { server.lastState }
  /// What runs.
  public var version: String { firmware.version }
  /// The versions that an installer was started for.
  public var installs: [String] { firmware.installs }
  /// How many calls of the disk there were.
  public var callCount: Int { callsBefore + disk.callCount }
  /// How many operations upon images and slots there were.
  public var operationCount: Int { firmware.operationCount }
  /// How often the server of images was asked.
  public var transferCount: Int { images.requestCount }
  /// The security version below which nothing is installed.
  public var floor: UInt32 { firmware.slots.floor }
  /// How often there was such a line in the log.
  public func logCount(_ line: String) -> Int { machine.logCounts[line] ?? 0 }
  /// The last line of the log that begins so.
  public func lastLogLine(_ line: String) -> String? { machine.lastLogLines[line] }
  /// Whether what runs is on trial.
  public var isOnTrial: Bool { isTrial }
  /// Whether the server has accepted the present connection.
  public var isOnline: Bool { startsAt == nil && agent.isOnline }
}
