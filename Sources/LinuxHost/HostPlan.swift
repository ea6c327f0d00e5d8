// What one configuration asks of the host.

import Bytes

/// Sizes of the host's tables for one configuration, and how patient it is.
public struct HostPlan: BitwiseCopyable, Sendable {
  /// How many sensors there are; each needs at most one source.
  public var sensorCount: Int
  /// The sum of the lengths of their sources' arguments, in bytes.
  public var sensorTextBytes: Int
  /// How many of them read lines.
  public var lineCount = 0
  /// How many outputs there are.
  public var outputCount = 0
  /// The sum of the lengths of their places, in bytes.
  public var outputTextBytes = 0
  /// How many commands have a program.
  public var commandCount: Int
  /// The sum of the lengths of their names and paths, in bytes.
  public var commandTextBytes: Int
  /// How long a slow source may take.
  public var sourceTimeout: TimeSpan

  /// A plan of these sizes.
  public init(
    sensorCount: Int, sensorTextBytes: Int, commandCount: Int, commandTextBytes: Int, sourceTimeout: TimeSpan
  ) {
    self.sensorCount = sensorCount
    self.sensorTextBytes = sensorTextBytes
    self.commandCount = commandCount
    self.commandTextBytes = commandTextBytes
    self.sourceTimeout = sourceTimeout
  }
}

/// Why a host could not be set up.
public enum HostSetupFailure: Error {
  /// The arena was too small.
  case memory(ArenaExhausted)
  /// The system refused something, with this value of `errno`.
  case noResources(Int32)
}

extension SourceTable {
  init(_ plan: HostPlan, from arena: inout Arena) throws(ArenaExhausted) {
    try self.init(
      capacity: plan.sensorCount, lineCount: plan.lineCount, textBytes: plan.sensorTextBytes,
      timeout: plan.sourceTimeout, from: &arena)
  }
}

extension OutputTable {
  init(_ plan: HostPlan, from arena: inout Arena) throws(ArenaExhausted) {
    let text = try ByteBuffer(capacity: plan.outputTextBytes, for: "outputs", from: &arena)
    self.init(try FixedArray(capacity: plan.outputCount, for: "outputs", from: &arena), text)
  }
}

extension Programs {
  init(_ plan: HostPlan, from arena: inout Arena) throws(ArenaExhausted) {
    try self.init(capacity: plan.commandCount, textBytes: plan.commandTextBytes, from: &arena)
  }
}
