// Device management in a simulated world: the whole agent, a broker with a server behind it, and a machine that loses
// its power where a test wants it to.

import Agent
import Bytes
import HostInterface
import TestSupport

/// Where the power fails, once.
public enum PowerCut: Sendable {
  /// Nowhere.
  case never
  /// In front of the agent's turn with this number; what was sent before may still arrive.
  case beforeTurn(Int, arrives: Bool)
  /// In front of the agent's turn with this number the agent alone ends, without a word, and is started again.
  case crashBeforeTurn(Int)
  /// In this call of the storage, counted from the moment at which the action was asked for.
  case duringCall(Int)
}

/// One machine with an agent, through any number of restarts.
public final class ManagementSimulation {
  /// The world, for its violation.
  public let world: World
  private let scenario: Scenario
  private let network: Network
  private let broker: Broker
  private let machine: Machine
  private let server: ManagementServer
  private let disk = SimulatedDisk()
  private let fate: Fate
  private let cut: PowerCut
  private let start: Instant
  private var storage: SimulatedStorage
  private var host: SimulatedHost
  private var agent: Agent
  private var wake: Instant
  private var startsAt: Instant?
  /// Calls of the storage in earlier runs of the machine, and the one of all in which the power fails.
  private var callsBefore = 0
  private var cutAt: Int?
  /// How many turns the agent has taken.
  public private(set) var turnCount = 0
  /// Whether the power has failed.
  public private(set) var wasCut = false

  /// How long a machine takes to come back.
  private static let bootTime = TimeSpan.seconds(20)

  /// Prepares a run. `fate` decides about what was not durable when the power failed.
  public init(
    seed: UInt64 = 1, management: String = "reboot = /sbin/restart\nfactory-reset = /sbin/reset", cleanSession: Bool,
    behaviours: [String: ActionBehaviour] = [:], cut: PowerCut = .never, fate: Fate = Fate(seed: 1),
    isTracing: Bool = false, arena: inout Arena
  ) throws {
    var scenario = Scenario()
    scenario.events = [EventSpec("status", every: .seconds(60), qos: 1)]
    scenario.commands = []
    scenario.cleanSession = cleanSession
    scenario.connectDelaySeconds = 0
    scenario.management = management
    self.scenario = scenario
    self.cut = cut
    self.fate = fate
    world = World(seed: seed, start: AgentSimulation.start, isTracing: isTracing)
    start = world.now
    var weather = Weather.calm
    weather.delay = 5...5
    network = Network(world: world, weather: weather)
    broker = Broker(world: world, network: network, expectations: BrokerExpectations(of: scenario))
    machine = Machine(world: world, sensors: scenario.sources.behaviours, commandTimeouts: [])
    machine.actionBehaviours = behaviours
    server = ManagementServer(world: world, broker: broker, machine: machine)
    broker.observer = server
    storage = SimulatedStorage(world: world, disk: disk, delays: .none)
    host = SimulatedHost(
      world: world, network: network, machine: machine,
      attempts: AttemptLog(world: world), storage: storage)
    agent = try Agent(
      plan: try makePlan(scenario, now: world.now, &arena), buildTime: Machine.buildTime, now: world.now, seed: seed,
      from: &arena)
    wake = world.now
  }

  // MARK: The course of things

  /// Lets `span` pass, through restarts.
  public func run(for span: TimeSpan, _ arena: inout Arena) throws {
    let end = world.now + span
    var turnsAtOnce = 0
    while world.violation == nil, world.now < end {
      if let startsAt, world.now >= startsAt { try boot(&arena) }
      if startsAt == nil, world.hasNews || world.now >= wake {
        world.hasNews = false
        step()
        turnsAtOnce += 1
        if turnsAtOnce > 200 { return world.violate("the agent spins") }
      }
      if startsAt == nil, machine.isGoingDown { powerFails(arrives: true, .request) }
      var next = startsAt ?? (world.hasNews ? world.now : wake)
      next = min(end, next)
      if let planned = world.timeline.next { next = min(next, planned) }
      if next > world.now {
        turnsAtOnce = 0
        world.now = next
      }
      while let action = world.timeline.take(upTo: world.now) { action() }
      if startsAt == nil, disk.isOff { powerFails(arrives: true, .power) }
    }
  }

  private func step() {
    turnCount += 1
    if case .beforeTurn(turnCount, let arrives) = cut, !wasCut { return powerFails(arrives: arrives, .power) }
    if case .crashBeforeTurn(turnCount) = cut, !wasCut {
      wasCut = true
      startsAt = world.now
      return
    }
    wake = storage.endTurn(after: agent.step(&host), now: world.now)
  }

  /// The power goes. A machine that restarts in an orderly way has written all that was to be written.
  private func powerFails(arrives: Bool, _ cause: LastStart) {
    world.note("power fails: \(cause.name)")
    if cause == .power { wasCut = true }
    if let link = network.link, case .open = link.state, !arrives { link.carriesUp = false }
    network.close()
    callsBefore += disk.callCount
    disk.restart(cause == .request ? Fate() : fate)
    planCut()
    machine.restart(cause)
    startsAt = world.now + ManagementSimulation.bootTime
  }

  /// The agent starts.
  private func boot(_ arena: inout Arena) throws {
    startsAt = nil
    // Where the machine has gone on, its connection has gone with the agent, and its program has not.
    network.close()
    machine.forgetAction()
    storage = SimulatedStorage(world: world, disk: disk, delays: .none)
    host = SimulatedHost(
      world: world, network: network, machine: machine,
      attempts: AttemptLog(world: world), storage: storage)
    agent = try Agent(
      plan: try makePlan(scenario, now: world.now, &arena), buildTime: Machine.buildTime, now: world.now,
      seed: world.seed &+ UInt64(turnCount), from: &arena)
    wake = world.now
  }

  // MARK: The server

  /// Asks for `action`, `reboot` or `factory_reset`, and has the power fail from now on.
  public func ask(for action: String, identifier: String = "0b7e6c1e") {
    if case .duringCall(let call) = cut { cutAt = callCount + call }
    planCut()
    server.start(action, identifier: identifier)
  }

  private func planCut() {
    if let cutAt, !wasCut { disk.faults.cutAt = cutAt - callsBefore }
  }

  /// Sends any other request.
  public func send(_ path: String, _ payload: String) { server.send(path, payload) }

  /// What the next manage requests are answered; nil is no answer.
  public func answerManage(with codes: [Int?]) { server.manageCodes = codes }

  /// Faults of the disk from now on.
  public func damage(_ change: (inout DiskFaults, Int) -> Void) { change(&disk.faults, disk.callCount) }

  /// Cuts the link.
  public func cutLink(_ kind: CutKind) {
    if let link = network.link { network.cut(link, kind) }
  }

  // MARK: Looking

  /// What was asked for.
  public var jobs: [ManagementJob] { server.jobs }
  /// Answers to other requests.
  public func answer(to identifier: String) -> [String: Any]? { server.answers[identifier] }
  /// All manage requests so far.
  public var manages: [[String: Any]] { server.manages }
  /// How often this program was started upon the machine.
  public func startCount(of program: String) -> Int { machine.actionStarts.filter { $0.program == program }.count }
  /// The programs.
  public var actionPrograms: [String] { machine.actionStarts.map(\.program) }
  /// How often the machine was restarted at once.
  public var forcedRestartCount: Int { machine.rebootCount }
  /// Which run of the machine this is.
  public var machineRun: UInt64 { machine.run }
  /// Whether an action has a chance.
  public var mayAct: Bool {
    get { machine.mayAct }
    set { machine.mayAct = newValue }
  }
  /// What the file says about where it is.
  public var location: String? {
    get { machine.location.map { String(decoding: $0, as: UTF8.self) } }
    set { machine.location = newValue.map { Array($0.utf8) } }
  }
  /// Where the server believes that it was, one after the other: latitude and longitude.
  public var toldLocations: [[Double]] { server.locations }
  /// What programs upon the machine do; those that are not named restart it.
  public var behaviours: [String: ActionBehaviour] {
    get { machine.actionBehaviours }
    set { machine.actionBehaviours = newValue }
  }
  /// How many calls of the storage there were.
  public var callCount: Int { callsBefore + disk.callCount }
  /// The last line of the log that begins so.
  public func lastLogLine(_ line: String) -> String? { machine.lastLogLines[line] }
  /// How often there was such a line.
  public func logCount(_ line: String) -> Int { machine.logCounts[line] ?? 0 }
  /// Whether the server has accepted the present connection.
  public var isOnline: Bool { startsAt == nil && agent.isOnline }
}
