import Simulator
import Testing

/// Runs one seed through a scenario, and records a broken promise with its story.
func run(
  _ seed: UInt64, _ scenario: Scenario, _ tally: inout Tally, test: String = #function, arenaBytes: Int = 1 << 20,
  _ body: (AgentSimulation) -> Void = { $0.run() }
) throws {
  let replay = Seeds.replay(seed, test: test)
  let failure = try live(through: scenario, seed: seed, &tally, replay: replay, arenaBytes: arenaBytes, body)
  if let failure { Issue.record(Comment(rawValue: failure)) }
}
