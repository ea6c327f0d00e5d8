import Bytes
import Simulator
import TestSupport
import Testing

/// Whole sequences of device management, with the power lost at every place.
@Suite struct ManagementSimulationTests {
  private static let arenaBytes = 3 << 20

  /// One life of a device to which one thing is done.
  struct Life: Sendable {
    var action = "reboot"
    var cleanSession = false
    var behaviour = ActionBehaviour.restarts(after: 500)

    /// What is as it should be.
    var ordinary: ActionBehaviour { action == "reboot" ? .restarts(after: 500) : .ends(0) }
    var program: String { action == "reboot" ? "/sbin/restart" : "/sbin/reset" }
  }

  /// Runs `life` with the power lost at `cut`, checks what must hold, and that a second job is done afterwards.
  ///
  /// - Returns: how many turns the agent took until the first job was done with, and how many calls of the storage.
  @discardableResult
  private func live(
    _ life: Life, _ cut: PowerCut = .never, _ fate: Fate = Fate(seed: 1), isTracing: Bool = false,
    damage: ((inout DiskFaults, Int) -> Void)? = nil
  ) throws -> (turns: ClosedRange<Int>, callCount: Int, wasCut: Bool) {
    try withArena(byteCount: Self.arenaBytes) { arena in
      let simulation = try ManagementSimulation(
        cleanSession: life.cleanSession, behaviours: [life.program: life.behaviour], cut: cut, fate: fate,
        isTracing: isTracing,
        arena: &arena)
      try simulation.run(for: .seconds(10), &arena)
      let first = simulation.turnCount + 1
      let call = simulation.callCount
      if let damage { simulation.damage(damage) }
      simulation.ask(for: life.action)
      try simulation.run(for: .seconds(100), &arena)
      let last = simulation.turnCount
      let callCount = simulation.callCount - call
      try simulation.run(for: .minutes(18), &arena)
      let result = (turns: first...last, callCount: callCount, wasCut: simulation.wasCut)
      if damage != nil { simulation.damage { faults, _ in faults = DiskFaults() } }
      // What could not be written is tried again.
      if damage != nil { try simulation.run(for: .minutes(1), &arena) }
      let wrong = try fault(of: simulation, life, hasDamage: damage != nil) ?? second(simulation, life, &arena)
      if let wrong {
        let story = isTracing ? simulation.world.lastNotes(80).joined(separator: "\n") : ""
        if !isTracing { try live(life, cut, fate, isTracing: true, damage: damage) }
        Issue.record("\(life), cut \(cut): \(wrong); \(simulation.jobs)\n\(story)")
      }
      return result
    }
  }

  /// What must hold however it went.
  private func fault(of simulation: ManagementSimulation, _ life: Life, hasDamage: Bool) -> String? {
    if let violation = simulation.world.violation { return violation }
    guard let job = simulation.jobs.first else { return "there is no job" }
    let count = simulation.startCount(of: life.program)
    if count > 1 { return "done \(count) times" }
    if simulation.startCount(of: "/sbin/restart") > 1 { return "restarted twice" }
    if !simulation.isOnline { return "not online" }
    switch job.state {
    case .asked:
      // Nothing is owed where nothing was said, but then nothing may have been done.
      return !simulation.wasCut ? "never answered" : count > 0 ? "done without a word" : nil
    case .accepted: return "accepted and never ended"
    case .complete(let run):
      if life.action == "reboot" { return run > job.run ? nil : "complete without a restart" }
      return count == 1 && life.behaviour == .ends(0) ? nil : "complete without having been done"
    case .failed(let code):
      // A reset in the middle of which the power fails cannot tell; a restart of which nothing came can.
      let isTrue = life.action != "reboot" ? simulation.wasCut : simulation.machineRun == job.run
      let mayFail = hasDamage || life.behaviour != life.ordinary || isTrue
      return mayFail ? nil : "failed with \(code)"
    }
  }

  /// A job after that.
  private func second(
    _ simulation: ManagementSimulation, _ life: Life, _ arena: inout Arena
  ) throws -> String? {
    let count = simulation.startCount(of: life.program)
    simulation.behaviours = [life.program: life.ordinary]
    simulation.ask(for: life.action, identifier: "second")
    try simulation.run(for: .minutes(5), &arena)
    if let violation = simulation.world.violation { return "the second job: \(violation)" }
    guard let job = simulation.jobs.last, case .complete = job.state, job.codes == [202] else {
      return "the second job is not complete"
    }
    let more = simulation.startCount(of: life.program) - count
    return more == 1 ? nil : "the second job was done \(more) times"
  }

  private static let lives = [
    Life(), Life(cleanSession: true), Life(action: "factory_reset", behaviour: .ends(0)),
    Life(action: "factory_reset"), Life(behaviour: .ends(3)), Life(behaviour: .cannotStart),
    Life(action: "factory_reset", cleanSession: true, behaviour: .ends(1)),
  ]

  @Test(arguments: lives.indices) func ends(index: Int) throws { try live(Self.lives[index]) }

  @Test(arguments: lives.indices) func survivesAPowerCutInFrontOfEachTurn(index: Int) throws {
    let life = Self.lives[index]
    var cutCount = 0
    for turn in try live(life).turns {
      for arrives in [false, true] where try live(life, .beforeTurn(turn, arrives: arrives)).wasCut { cutCount += 1 }
    }
    print("\(life): \(cutCount) power cuts between turns")
    #expect(cutCount > 20)
  }

  /// What a record that is torn in the middle is like, the tests of the storage know.
  @Test(arguments: [0, 2, 4]) func survivesAPowerCutInEachCallOfTheStorage(index: Int) throws {
    let life = Self.lives[index]
    var historyCount = 0
    for call in 0..<(try live(life).callCount) {
      let fate = Fate(betweenExtremes: true)
      var wasCut = false
      repeat {
        wasCut = try live(life, .duringCall(call), fate).wasCut
        historyCount += 1
      } while wasCut && fate.advance()
    }
    print("\(life): \(historyCount) histories of the storage")
    #expect(historyCount > 20)
  }

  @Test(arguments: lives.indices) func survivesACrashOfTheAgentInFrontOfEachTurn(index: Int) throws {
    let life = Self.lives[index]
    var count = 0
    for turn in try live(life).turns where try live(life, .crashBeforeTurn(turn)).wasCut { count += 1 }
    #expect(count > 10)
  }

  @Test(arguments: [0, 2]) func aDiskThatFailsEndsInAWord(index: Int) throws {
    let life = Self.lives[index]
    for call in 0..<(try live(life).callCount) {
      try live(life) { faults, now in faults.failing = [now + call] }
      try live(life) { faults, now in faults.failingFrom = now + call }
      try live(life) { faults, now in faults.readOnlyFrom = now + call }
    }
    try live(life) { faults, _ in faults.capacity = 0 }
  }
}
