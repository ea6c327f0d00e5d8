// Bounds of what local programs may ask.

import Bytes
import HostInterface

/// Bounds of the control socket.
public enum ControlLimits {
  /// The longest request, with its line feed, in bytes.
  public static var lineBytesMax: Int { 1024 }
  /// How long a client may say nothing, or take for a line.
  public static var requestTimeout: TimeSpan { .seconds(10) }
  /// The same while others wait for their turn.
  public static var crowdedTimeout: TimeSpan { .seconds(1) }
  /// How long it may take for its answer.
  public static var answerTimeout: TimeSpan { .seconds(2) }
  /// An answer is written in pieces of this size at most, in bytes.
  static var pieceBytesMax: Int { 4096 }
  /// The longest row of an answer, in bytes: names at their longest, or what a link says of itself.
  static var rowBytesMax: Int { 1536 }
  /// Pieces that are written, or requests that are answered, in one turn: all of the longest answer.
  static var piecesPerTurnMax: Int { 32 }
}
