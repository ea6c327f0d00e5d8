// What one configuration asks for, ready for the agent to be made of it, or to go over to it.

import AgentConfiguration
import Bytes
import Telemetry

/// A configuration at work: settings, and the events and sensors made of them, in memory of their own that a reload
/// gives back whole.
public struct Plan: ~Copyable {
  private let pinned = Pinned()
  /// The settings that it was made from.
  public let settings: Settings
  let table: EventTable
  let outputs: OutputRunner

  /// Takes tables and text for the events and sensors of `settings` from `arena`.
  ///
  /// `sources` has the host's source index of each configured sensor, in their order. Every event is due at `now`.
  public init(
    settings: consuming Settings, sources: borrowing FixedArray<Int>, now: Instant, from arena: inout Arena
  ) throws(ArenaExhausted) {
    outputs = OutputRunner(settings: settings, now: now, in: &arena)
    table = try EventTable(settings: settings, sources: sources, now: now, from: &arena)
    self.settings = settings
  }

  /// How the value of the sensor at `index` is made, for whoever reads it without an agent: without its filter, behind
  /// which its digits are cut.
  public static func channel(ofSensor index: Int, in settings: borrowing Settings) -> Channel {
    let report = Int(settings.sensors[index].report)
    let isFiltered = report >= 0 && !settings.reports[report].filter.isEmpty
    return Channel(
      quantity: quantity(ofSensor: index, in: settings), offset: settings.sensors[index].offset,
      scale: settings.sensors[index].scale, fractionDigits: isFiltered ? nil : settings.sensors[index].decimals)
  }
}
