// The whole agent in a simulated world: the very code that runs on devices, generic over its host.

import Agent
import AgentConfiguration
import Bytes
import HostInterface
import TestSupport

/// One run of one seed through one scenario.
public final class AgentSimulation {
  /// The world, for its marks and violation.
  public let world: World
  let scenario: Scenario
  let network: Network
  let broker: Broker
  let machine: Machine
  let ledger: Ledger
  let attempts: AttemptLog
  let storage: SimulatedStorage
  private var host: SimulatedHost
  private var agent: Agent
  private var dice: Dice
  private var isCalm = false
  private var suspendedUntil: Instant
  /// When the agent wants to wake next.
  private var wake: Instant
  private var faultsEnd: Instant
  private var commandCount = 0
  /// How often the agent's loop woke.
  public private(set) var stepCount = 0

  /// Where the boot-time clock stands when the agent starts: not at a multiple of anything.
  public static let start = Instant(milliseconds: 12_345)
  /// No sleep may be longer: nothing is due that late.
  private static let sleepMax = TimeSpan.minutes(120)

  /// Prepares a run.
  public init(seed: UInt64, scenario: Scenario, isTracing: Bool = false, arena: inout Arena) throws {
    self.scenario = scenario
    world = World(seed: seed, start: AgentSimulation.start, isTracing: isTracing)
    network = Network(world: world, weather: .calm)
    broker = Broker(world: world, network: network, expectations: BrokerExpectations(of: scenario))
    let sources = scenario.sources
    machine = Machine(
      world: world, sensors: sources.behaviours,
      commandTimeouts: scenario.commands.map { .seconds(Int64($0.timeoutSeconds)) })
    machine.secret = Array(Scenario.token.utf8)
    attempts = AttemptLog(
      world: world, lateness: .milliseconds(Int64(scenario.latenessMilliseconds)),
      firstDelayMax: .seconds(Int64(scenario.connectDelaySeconds)) + scenario.storagePatience)
    machine.attempts = attempts
    ledger = Ledger(
      world: world, machine: machine, events: scenario.events, counters: sources.counters)
    var delays = StorageDelays()
    delays.range = scenario.storageDelay
    delays.hangOdds = scenario.storageHangOdds
    let disk = SimulatedDisk()
    machine.saysSynchronised = scenario.saysSynchronised
    if scenario.storedYearsAhead > 0 { machine.store(yearsAhead: scenario.storedYearsAhead, on: disk) }
    storage = SimulatedStorage(world: world, disk: disk, delays: delays)
    host = SimulatedHost(
      world: world, network: network, machine: machine, attempts: attempts, storage: storage)
    dice = Dice(seed: seed, colour: 4)
    suspendedUntil = world.now
    wake = world.now
    faultsEnd = world.now + scenario.faultTime
    let plan = try makePlan(scenario, now: world.now, &arena)
    agent = try Agent(plan: plan, buildTime: Machine.buildTime, now: world.now, seed: seed, from: &arena)
    broker.observer = ledger
    if !scenario.brokerKnowsQoS2 { ledger.qosMax = 1 }
  }

  // MARK: The course of things

  /// Lives through the scenario's weathers, then through a calm time after which all must be settled, then stops.
  public func run() {
    world.note("seed \(world.seed)")
    if !scenario.weathers.isEmpty { changeWeather() }
    if scenario.hasClockFaults { planClockFault() }
    if scenario.isSuspended { planSuspend() }
    if scenario.hasDiskFaults { planDiskFault() }
    if scenario.commandPause != nil { planCommand() }
    run(for: scenario.faultTime)
    beginCalm()
    run(for: scenario.recoveryTime)
    checkRecovery()
    ledger.latencyMax = .seconds(3)
    run(for: scenario.calmTime)
    checkHearing()
    alignEnd()
    checkBooks()
    stop()
  }

  /// Lets `span` pass.
  public func run(for span: TimeSpan) {
    let end = world.now + span
    var turnsAtOnce = 0
    while world.violation == nil, world.now < end {
      if world.now >= suspendedUntil, world.hasNews || world.now >= wake {
        world.hasNews = false
        wake = step()
        turnsAtOnce += 1
        if turnsAtOnce > 3000 { return world.violate("the agent spins") }
      }
      // The next moment at which anything happens: the agent itself sleeps until its deadline or until there is news.
      var next = min(end, world.hasNews ? world.now : wake)
      if world.now < suspendedUntil { next = min(end, suspendedUntil) }
      if let planned = world.timeline.next { next = min(next, planned) }
      if next > world.now {
        turnsAtOnce = 0
        world.now = next
      }
      while let action = world.timeline.take(upTo: world.now) { action() }
    }
  }

  /// One turn of the agent's loop; gives the moment at which it wants to wake.
  private func step() -> Instant {
    stepCount += 1
    let deadline = storage.endTurn(after: agent.step(&host), now: world.now)
    ledger.checkPrograms()
    if deadline > world.now + AgentSimulation.sleepMax { world.violate("no deadline within two hours") }
    if deadline > world.now { checkAttention() }
    guard scenario.latenessMilliseconds > 0, deadline > world.now else { return deadline }
    return deadline + dice.span(0...scenario.latenessMilliseconds)
  }

  /// A host wakes nobody for input that was not asked for to the end: whoever goes to sleep with input unread and
  /// nothing in the way of output sleeps past it.
  private func checkAttention() {
    guard let link = network.link, case .open = link.state, link.death == nil else { return }
    if link.unread > 0, !link.wantsInput, !link.wantsOutput {
      world.violate("the agent sleeps with \(link.unread) bytes unread")
    }
  }

  /// Ends bad weather for good.
  public func beginCalm() {
    isCalm = true
    network.weather = .calm
    machine.isWallKnown = true
    world.note("calm for good")
  }

  /// Cuts the link that there is.
  public func cut(_ kind: CutKind) {
    if let link = network.link { network.cut(link, kind) }
  }

  /// Has the machine sleep for `span` each time a ping has reached the broker; the network stays as it is.
  public func suspendAtPings(for span: TimeSpan) {
    broker.observePing = { [self] in
      attempts.noteSuspend()
      suspendedUntil = world.now + span
      machine.awakeFrom = suspendedUntil
    }
  }

  /// Goes over to the configuration of `scenario`, whose events and sensors must be of the same number and kind.
  public func reload(_ scenario: Scenario) throws {
    // Never given back: the plan lives in it.
    var arena = makeArena(byteCount: 1 << 18)
    let plan = try makePlan(scenario, now: world.now, &arena)
    if agent.needsNewConnection(for: plan.settings) { world.violate("a new connection is asked for") }
    agent.reload(plan: plan, &host)
    world.hasNews = true
  }

  /// Changes the weather and leaves it so.
  public func setWeather(_ weather: Weather) {
    network.weather = weather
    world.note("weather \(weather.name)")
  }

  private func changeWeather() {
    guard !isCalm else { return }
    setWeather(dice.pick(scenario.weathers))
    world.after(dice.span(scenario.weatherLength)) { [self] in changeWeather() }
  }

  private func planClockFault() {
    guard !isCalm else { return }
    switch dice.number(0...3) {
    case 0: machine.isWallKnown.toggle()
    case 1: machine.stepWallClock(by: dice.span(-5000...5000))
    case 2: machine.stepWallClock(by: .milliseconds(Int64(dice.number(-300_000_000...300_000_000)) * 1000))
    default: machine.setWallClockRight()
    }
    world.after(dice.span(60_000...7_200_000)) { [self] in planClockFault() }
  }

  private func planDiskFault() {
    world.after(dice.span(1_800_000...14_400_000)) { [self] in
      var faults = DiskFaults()
      switch isCalm ? 0 : dice.number(0...3) {
      case 1: faults.failingFrom = storage.disk.callCount
      case 2: faults.readOnlyFrom = storage.disk.callCount
      case 3: faults.capacity = storage.disk.usedBytes
      default: break
      }
      storage.disk.faults = faults
      planDiskFault()
    }
  }

  private func planSuspend() {
    world.after(dice.span(1_800_000...14_400_000)) { [self] in
      guard !isCalm else { return }
      world.mark("suspend")
      suspendedUntil = min(world.now + dice.span(1000...7_200_000), faultsEnd)
      world.note("suspended for \((suspendedUntil - world.now).milliseconds) ms")
      network.loseDuringSuspend()
      attempts.noteSuspend()
      machine.awakeFrom = suspendedUntil
      planSuspend()
    }
  }

  // MARK: The operator

  /// Begins to send commands as the scenario says.
  public func startOperator() { planCommand() }

  private func planCommand() {
    guard let pause = scenario.commandPause else { return }
    world.after(dice.spanOfAnyMagnitude(pause)) { [self] in
      guard !isCalm else { return }
      sendCommand()
      planCommand()
    }
  }

  private func sendCommand() {
    commandCount += 1
    var name = dice.pick(scenario.commands.map(\.name))
    if dice.once(in: scenario.equalCommandOdds) {
      world.mark("command-equal")
      return command(name, payload: Array("{\"d\":{\"once\":\"more\"}}".utf8), qos: UInt8(dice.number(0...2)))
    }
    var payload = Array("{\"d\":{\"number\":\(commandCount)}}".utf8)
    switch dice.number(0...9) {
    case 0: name = "ping"
    case 1: name = "unheard-of"
    case 2:
      name = "publish"
      payload = Array("rubbish \(commandCount)".utf8)
    case 3 where scenario.asksForEvents:
      name = "publish"
      payload = Array("{\"d\":{\"event\":\"\(dice.pick(scenario.events.map(\.name)))\"},\"n\":\(commandCount)}".utf8)
    case 4: payload += [UInt8](repeating: UInt8(ascii: " "), count: scenario.packetBytes)
    default: break
    }
    command(name, payload: payload, qos: UInt8(dice.number(0...2)))
  }

  /// Sends one command as the platform would.
  public func command(_ name: String, payload: [UInt8], qos: UInt8 = 1) {
    ledger.noteCommand(payload, name: name, qos: qos)
    world.mark("command-qos-\(qos)")
    broker.publish(topic: Array("iot-2/cmd/\(name)/fmt/json".utf8), payload: payload, qos: qos)
  }

  // MARK: The end

  private func checkRecovery() {
    guard world.violation == nil else { return }
    let minutes = scenario.recoveryTime.milliseconds / 60_000
    if !agent.isOnline { world.violate("not online \(minutes) minutes after faults") }
  }

  /// After all that happened the agent must still get commands: its subscription must have survived.
  private func checkHearing() {
    guard world.violation == nil, !scenario.isQuickstart else { return }
    let outcomes = ledger.outcomes
    commandCount += 1
    command("ping", payload: Array("{\"last\":\(commandCount)}".utf8))
    run(for: .seconds(3))
    if ledger.outcomes == outcomes { world.violate("a command in calm weather is not answered") }
  }

  /// Moves to a moment at which no event is due, so that nothing is under way.
  private func alignEnd() {
    let rest = 5000 - world.now.milliseconds % 5000
    run(for: .milliseconds(rest + 2500))
  }

  private func checkBooks() {
    guard world.violation == nil else { return }
    let dropped = Int(agent.counters.eventsDropped)
    if dropped > 0 { world.mark("queue-overflow") }
    if !agent.isOnline { return world.violate("not online after a calm time") }
    if agent.queuedCount > 0 { world.violate("\(agent.queuedCount) messages still wait after a calm time") }
    if agent.inflightCount > 0 { world.violate("\(agent.inflightCount) messages in flight after a calm time") }
    if let session = broker.session, session.incomingCount > 0 {
      world.violate("\(session.incomingCount) exchanges were never completed")
    }
    var missing = 0
    for (index, event) in scenario.events.enumerated() where event.qos > 0 { missing += ledger.missing(index).count }
    if missing > dropped { world.violate("\(missing) events are missing, \(dropped) were counted as dropped") }
    // What was given up because its acknowledgement never came may have arrived.
    let abandoned = machine.logCounts["event abandoned"] ?? 0
    if scenario.commandPause == nil, missing < dropped - abandoned {
      world.violate("\(dropped) dropped and \(abandoned) of them abandoned are counted, \(missing) are missing")
    }
    checkCommands()
  }

  private func checkCommands() {
    let finished = machine.logCounts["command finished"] ?? 0
    if finished != Int(agent.counters.commands) {
      world.violate("\(agent.counters.commands) commands were taken, \(finished) finished")
    }
    // A new command that looks like one delivered again is answered at least.
    let redelivered = scenario.equalCommandOdds > 0 ? machine.logCounts["command redelivered"] ?? 0 : 0
    let delivered = ledger.deliveredCount
    if delivered > finished + redelivered {
      world.violate("\(delivered) commands were acknowledged, \(finished) finished, \(redelivered) redelivered")
    }
    if finished > commandCount { world.violate("\(finished) commands finished of \(commandCount)") }
    if broker.session?.pending.isEmpty == false { world.violate("commands still wait after a calm time") }
    if machine.runningCount > 0 { world.violate("\(machine.runningCount) programs run after a calm time") }
  }

  /// Asks the agent to end and sees that it does.
  public func stop() {
    guard world.violation == nil else { return }
    let wasOnline = agent.isOnline && broker.isConnectionHealthy
    let disconnects = world.marks["disconnect"] ?? 0
    let asked = world.now
    agent.stop(reason: "test", &host)
    world.hasNews = true
    while !agent.isEnded, world.violation == nil, world.now < asked + .seconds(10) { run(for: .milliseconds(50)) }
    if !agent.isEnded { return world.violate("not ended 10 s after it was asked to") }
    if network.link != nil { world.violate("the link is open after the end") }
    if machine.runningCount > 0 { world.violate("programs run after the end") }
    // What was sent last needs a moment to arrive.
    run(for: .seconds(30))
    if wasOnline, isCalm, (world.marks["disconnect"] ?? 0) == disconnects { world.violate("ended without DISCONNECT") }
  }

  // MARK: For tests of single properties

  /// Has a telling sensor, by the index of its source, tell.
  public func tell(_ source: Int) { machine.tell(source) }

  /// Has the broker close the connection whenever it gets the message that comes next.
  public func poisonNextMessage(resetting: Bool = false) {
    broker.poisonWanted += 1
    broker.poisonResets = resetting
  }

  /// Whether the server has accepted the present connection.
  public var isOnline: Bool { agent.isOnline }
  /// Messages that wait.
  public var queuedCount: Int { agent.queuedCount }
  /// Messages that were dropped.
  public var droppedCount: Int { Int(agent.counters.eventsDropped) }
  /// Messages that are unacknowledged.
  public var inflightCount: Int { agent.inflightCount }
  /// Connections attempted.
  public var attemptCount: Int { attempts.count }
  /// When the counter of event `index` was read.
  public func readTimes(_ index: Int) -> [Instant] { ledger.readTimes(index) }
  /// Which counter values of event `index` have not arrived.
  public func missing(_ index: Int) -> [Int] { ledger.missing(index) }
  /// How many values of event `index` have arrived.
  public func arrivedCount(_ index: Int) -> Int { ledger.arrivedCount(index) }
  /// The last log line that begins with `component event`, as it was written.
  public func lastLogLine(_ line: String) -> String? { machine.lastLogLines[line] }
  /// How often the log said `component event`.
  public func logCount(_ line: String) -> Int { machine.logCounts[line] ?? 0 }
  /// How often bytes were handed to the link.
  public var sendCount: Int { network.sendCount }
  /// How many outcomes of commands have arrived.
  public var outcomeCount: Int { ledger.outcomes }
  /// Connections that the broker accepted.
  public var connectionCount: Int { broker.connectionCount }
  /// How many lines the log has.
  public var logLineCount: Int { machine.logLineCount }
}

/// Builds a plan as the program does: from a configuration's text.
func makePlan(_ scenario: Scenario, now: Instant, _ arena: inout Arena) throws -> Plan {
  let sourceCount = scenario.sources.behaviours.count
  return try withArena(byteCount: SettingsLoader.scratchByteCount) { scratch in
    var loader = try SettingsLoader(scratch: &scratch)
    let text = Array(scenario.configuration.utf8)
    loader.load(text.span, name: StaticString("simulated.conf").bytes)
    guard let settings = try loader.finish(defaultID: StaticString("none").bytes, into: &arena) else {
      var lines = ""
      for index in 0..<loader.diagnostics.count { lines += Array(loader.diagnostics.text(at: index)).text + "\n" }
      throw ScenarioFault(diagnostics: lines)
    }
    var sources = try FixedArray<Int>(capacity: sourceCount, for: "sources", from: &arena)
    for index in 0..<sourceCount { _ = sources.append(index) }
    return try Plan(settings: settings, sources: sources, now: now, from: &arena)
  }
}

/// A scenario whose configuration is wrong.
public struct ScenarioFault: Error {
  /// What the configuration reader said.
  public let diagnostics: String
}
