// Which seeds a test runs: a fixed set by default, so that a run can be repeated; more, or one, by environment.

import Foundation
import TestSupport

/// The seeds of one test, and how a failing one is reported.
public enum Seeds {
  /// `MOTE_SIMULATOR_SEED` names a single seed; otherwise there are `count` times `MOTE_SIMULATOR_FACTOR` of them, from
  /// `MOTE_SIMULATOR_FIRST` on.
  public static func all(_ count: Int) -> [UInt64] {
    if let seed = single { return [seed] }
    let factor = variable("MOTE_SIMULATOR_FACTOR").flatMap { Double($0) } ?? 1
    let first = variable("MOTE_SIMULATOR_FIRST").flatMap { UInt64($0) } ?? 1
    return (0..<UInt64(max(1, Double(count) * factor))).map { first + $0 }
  }

  /// Whether more runs than usual were asked for: what enumerates rather than draws lots then leaves nothing out.
  public static var isThorough: Bool { variable("MOTE_SIMULATOR_FACTOR").flatMap { Double($0) } ?? 1 > 1 }

  /// The one seed that was asked for. Marks of rare things are not demanded of it.
  public static var single: UInt64? { variable("MOTE_SIMULATOR_SEED").flatMap { UInt64($0) } }

  /// How a test is run again with one seed.
  public static func replay(_ seed: UInt64, test: String) -> String {
    "MOTE_SIMULATOR_SEED=\(seed) swift test --filter \(test)"
  }

  /// What to print about a violation: how to see it again, and what came before.
  public static func report(seed: UInt64, replay: String, violation: String, notes: [String]) -> String {
    """
    seed \(seed): \(violation)
    replay: \(replay)
    \(notes.joined(separator: "\n"))
    """
  }

  private static func variable(_ name: String) -> String? { ProcessInfo.processInfo.environment[name] }
}

/// What a set of runs came to.
public struct Tally: Sendable {
  /// How often each rare thing was seen.
  public private(set) var marks: [String: Int] = [:]
  /// Simulated time.
  public private(set) var hours = 0.0
  /// Runs.
  public private(set) var runs = 0

  /// An empty tally.
  public init() {}

  /// Adds a run.
  public mutating func add(_ world: World, from start: Int64 = 0) {
    marks.merge(world.marks) { $0 + $1 }
    hours += Double(world.now.milliseconds - start) / 3_600_000
    runs += 1
  }

  /// Which of `names` were never seen.
  public func unseen(_ names: [String]) -> [String] { names.filter { marks[$0] == nil } }

  /// One line for each mark.
  public var summary: String {
    marks.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
  }
}

/// Runs one seed through a scenario; a broken promise is replayed for its story.
///
/// - Parameter replay: the command that shows it again.
/// - Returns: what to print about a broken promise; nil when all were kept.
public func live(
  through scenario: Scenario, seed: UInt64, _ tally: inout Tally, replay: String, arenaBytes: Int = 1 << 20,
  _ body: (AgentSimulation) -> Void = { $0.run() }
) throws -> String? {
  let world = try withArena(byteCount: arenaBytes) { arena in
    let simulation = try AgentSimulation(seed: seed, scenario: scenario, arena: &arena)
    body(simulation)
    return simulation.world
  }
  tally.add(world)
  guard let violation = world.violation else { return nil }
  let notes = try withArena(byteCount: arenaBytes) { arena in
    let simulation = try AgentSimulation(seed: seed, scenario: scenario, isTracing: true, arena: &arena)
    body(simulation)
    return simulation.world.lastNotes(80)
  }
  return Seeds.report(seed: seed, replay: replay, violation: violation, notes: notes)
}
