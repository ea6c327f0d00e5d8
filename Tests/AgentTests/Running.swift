import Simulator
import TestSupport
import Testing

/// Runs one seed through a scenario; a broken promise is replayed with its story and recorded.
func run(
  _ seed: UInt64, _ scenario: Scenario, _ tally: inout Tally, test: String = #function, arenaBytes: Int = 1 << 20,
  _ body: (AgentSimulation) -> Void = { $0.run() }
) throws {
  let world = try withArena(byteCount: arenaBytes) { arena in
    let simulation = try AgentSimulation(seed: seed, scenario: scenario, arena: &arena)
    body(simulation)
    return simulation.world
  }
  tally.add(world)
  guard let violation = world.violation else { return }
  let notes = try withArena(byteCount: arenaBytes) { arena in
    let simulation = try AgentSimulation(seed: seed, scenario: scenario, isTracing: true, arena: &arena)
    body(simulation)
    return simulation.world.lastNotes(80)
  }
  Issue.record(Comment(rawValue: Seeds.report(seed: seed, test: test, violation: violation, notes: notes)))
}
