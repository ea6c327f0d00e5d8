import Simulator
import TestSupport
import Testing

@Suite struct ClientSimulationTests {
  /// Runs one seed; a broken promise is replayed with its story and recorded.
  private func run(
    _ seed: UInt64, _ parameters: ClientSimulation.Parameters, _ tally: inout Tally, test: String = #function
  ) throws {
    let world = try simulate(seed, parameters, isTracing: false)
    tally.add(world)
    guard let violation = world.violation else { return }
    let replay = try simulate(seed, parameters, isTracing: true)
    let text = Seeds.report(
      seed: seed, replay: Seeds.replay(seed, test: test), violation: violation, notes: replay.lastNotes(60))
    Issue.record(Comment(rawValue: text))
  }

  private func simulate(
    _ seed: UInt64, _ parameters: ClientSimulation.Parameters, isTracing: Bool
  ) throws -> World {
    try withArena { arena in
      let simulation = try ClientSimulation(
        seed: seed, parameters: parameters, isTracing: isTracing, arena: &arena)
      simulation.run()
      return simulation.world
    }
  }

  @Test func keepsItsPromisesInDurableSessions() throws {
    var tally = Tally()
    for seed in Seeds.all(9) {
      var parameters = ClientSimulation.Parameters()
      parameters.inflightMax = Int(seed % 3) * 5 + 1
      parameters.packetBytesMax = seed % 2 == 0 ? 256 : 1024
      try run(seed, parameters, &tally)
    }
    print(tally.runs, "runs,", tally.hours, "hours:", tally.summary)
  }

  @Test func keepsItsPromisesInCleanSessions() throws {
    var tally = Tally()
    for seed in Seeds.all(4) {
      var parameters = ClientSimulation.Parameters()
      parameters.cleanSession = true
      try run(seed, parameters, &tally)
    }
    print(tally.runs, "runs,", tally.hours, "hours:", tally.summary)
  }
}
