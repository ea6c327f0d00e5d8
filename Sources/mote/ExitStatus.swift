// How the program ends, in the words of sysexits.h.

/// An exit status.
enum ExitStatus: Int32, Error {
  /// All is well.
  case ok = 0
  /// The command line is wrong.
  case usage = 64
  /// A file that was to be looked at is not what it should be.
  case data = 65
  /// No agent answers.
  case unavailable = 69
  /// A defect of ours.
  case software = 70
  /// The system refused memory or a file descriptor.
  case system = 71
  /// Standard output cannot be written.
  case output = 74
  /// It cannot be done now: there is no connection, for instance.
  case temporary = 75
  /// Only others may do this.
  case notPermitted = 77
  /// The slots have changed: whoever supervises looks what to start now.
  case slotsChanged = 80
  /// This is a trial that has failed.
  case trialFailed = 81
  /// The configuration is wrong.
  case configuration = 78
}
