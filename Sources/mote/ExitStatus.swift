// How the program ends, in the words of sysexits.h.

/// An exit status.
enum ExitStatus: Int32, Error {
  /// All is well.
  case ok = 0
  /// The command line is wrong.
  case usage = 64
  /// A file that was to be looked at is not what it should be.
  case data = 65
  /// A defect of ours.
  case software = 70
  /// The system refused memory or a file descriptor.
  case system = 71
  /// Standard output cannot be written.
  case output = 74
  /// The configuration is wrong.
  case configuration = 78
}
