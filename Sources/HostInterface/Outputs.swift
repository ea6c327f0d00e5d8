// Setting things: lines, lamps, anything that the machine can be told.

import Bytes

/// A kind of output, as written before the colon of `write =`.
public enum OutputKind: UInt8, Sendable, BitwiseCopyable {
  /// A line of a GPIO chip.
  case gpio
  /// A light of /sys/class/leds, by its name.
  case led
  /// An attribute of the kernel's, by its path below /sys.
  case file

  /// The words before the colon.
  public static var words: WordList { WordList("gpio|led|file") }
}

/// Outputs, numbered in the order in which the configuration opened them.
public protocol HostOutputs: ~Copyable {
  /// Sets output `index` to `value`, a whole number. At once: what an output is written to must not block.
  ///
  /// One that is not ours yet is made so first; a line then has the value from the moment on that it is an output.
  mutating func setOutput(_ index: Int, to value: Int) -> OutputAnswer
}

/// What became of setting an output.
public enum OutputAnswer: UInt8, Sendable, BitwiseCopyable {
  /// It has the value.
  case done
  /// There is no such output now.
  case notFound
  /// We may not set it.
  case notPermitted
  /// Somebody else has it.
  case busy
  /// The value is none that it can have.
  case outOfRange
  /// The driver reported an error.
  case inputOutput

  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .done: "done"
    case .notFound: "not-found"
    case .notPermitted: "not-permitted"
    case .busy: "busy"
    case .outOfRange: "out-of-range"
    case .inputOutput: "input-output-error"
    }
  }
}
