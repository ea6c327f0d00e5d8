// Reading sensors. What the raw text means is decided by `Telemetry`, which needs no system.

import Bytes

/// Sources of raw text, numbered in the order in which the configuration opened them.
public protocol HostSensors: ~Copyable {
  /// Begins to read source `index` where that takes time, and says whether `readSource` has something to say at once.
  ///
  /// A caller that needs several sources together asks for all of them first, so that slow ones are read side by side,
  /// and reads when all are ready or its patience ends. An answer waits until it is read, or nobody has wanted it for
  /// `HostLimits.patienceShare` + 1 times the source's time limit.
  mutating func prepareSource(_ index: Int) -> Bool

  /// Whether another slow source could begin to be read now. Where not, asking for one that nobody has asked for comes
  /// to nothing; the host wakes the loop when there is room.
  var canPrepareMore: Bool { get }

  /// Appends the raw text of source `index` to `buffer`, at most `HostLimits.sourceBytesMax` bytes of it; the rest of a
  /// longer one is ignored.
  ///
  /// `.pending`: the source is slow and is being read elsewhere; the host wakes the loop when it is there.
  mutating func readSource(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead

  /// How long before `now` the answer was asked for that waits for `readSource`; zero where there is none, and for a
  /// source that is read at once. Its value is not older than that.
  func sourceAge(_ index: Int, at now: Instant) -> TimeSpan

  /// The next source that has something to tell although nobody asked: an edge on a line, a batch that has filled up.
  /// Each news is told once; reading the source then gives it. Nil when there is none; the host wakes the loop for one.
  mutating func nextTellingSource() -> Int?
}

extension HostSensors where Self: ~Copyable {
  /// A host without slow sources is always ready.
  public mutating func prepareSource(_ index: Int) -> Bool { true }

  /// A host without slow sources has room for all.
  public var canPrepareMore: Bool { true }

  /// A host without slow sources has no answers that wait.
  public func sourceAge(_ index: Int, at now: Instant) -> TimeSpan { .zero }

  /// A host whose sources only answer has nothing to tell.
  @inline(__always)
  public mutating func nextTellingSource() -> Int? { nil }
}
