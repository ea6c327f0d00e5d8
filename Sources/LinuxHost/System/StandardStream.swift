// Standard output and standard error, of a program that prints and ends. The running agent's log is `LogSink`.

import Bytes

/// The standard streams of a program that prints and ends.
public enum StandardStream: Int32, Sendable {
  /// Standard output.
  case output = 1
  /// Standard error.
  case error = 2

  /// Writes all of `bytes`, waiting as long as the reader needs; false when the reader is gone.
  @inline(never)
  public func write(_ bytes: Span<UInt8>) -> Bool {
    do throws(Errno) {
      try System.writeAll(rawValue, bytes)
      return true
    } catch {
      return false
    }
  }
}
